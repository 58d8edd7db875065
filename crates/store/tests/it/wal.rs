//! SQLite's write-ahead log stays small although somebody always reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plexus_store::{DbError, Options, first};
use plexus_testkit::{TestDatabase, TestPlace};

fn size_of(test: &TestDatabase, suffix: &str) -> u64 {
    let Options::Sqlite(options) = test.place().options() else {
        panic!("the database is SQLite's");
    };
    let mut path = options.path.clone().into_os_string();
    path.push(suffix);
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_is_written_back_while_there_are_writes() {
    let test = TestPlace::sqlite().open();
    test.write(|tx| tx.execute("CREATE TABLE big (data BYTEA)", &[])).await.unwrap();
    let mut most = 0;
    for _ in 0..1_200 {
        test.write(|tx| tx.execute("INSERT INTO big (data) VALUES ($1)", &[&vec![7_u8; 64 << 10]])).await.unwrap();
        most = most.max(size_of(&test, "-wal"));
    }
    // By itself the writer lets it grow to 64 MiB.
    assert!(most < 60 << 20, "{most} bytes of 75 MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_does_not_grow_for_ever() {
    let test = TestPlace::sqlite().open();
    test.write(|tx| tx.execute("CREATE TABLE big (data BYTEA)", &[])).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    // Two readers that overlap all the time.
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (db, done) = (test.db(), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    db.read(|tx| {
                        for _ in 0..200 {
                            tx.query("SELECT COUNT(*) FROM big", &[], first::<i64>)?;
                        }
                        Ok::<_, DbError>(())
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for _ in 0..150 {
        test.write(|tx| tx.execute("INSERT INTO big (data) VALUES ($1)", &[&vec![7_u8; 2 << 20]])).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    let size = size_of(&test, "-wal");
    // The writer waits for a moment without readers at 64 MiB. On a busy machine there may be none: then it waits again
    // at 96, 128 and 160 MiB.
    assert!(size < 180 << 20, "{size} bytes after 300 MiB of writes");
}
