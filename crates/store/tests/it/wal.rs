//! SQLite's write-ahead log stays small although somebody always reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plexus_store::{DbError, Options, first};
use plexus_testkit::TestPlace;

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
        test.write(|tx| tx.execute("INSERT INTO big (data) VALUES ($1)", &[&vec![7u8; 2 << 20]])).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    let Options::Sqlite(options) = test.place().options() else {
        return;
    };
    let mut wal = options.path.clone().into_os_string();
    wal.push("-wal");
    let size = std::fs::metadata(wal).unwrap().len();
    assert!(size < 110 << 20, "{size} bytes after 300 MiB of writes");
}
