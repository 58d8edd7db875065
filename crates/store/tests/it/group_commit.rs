//! Group commit: closures that wait together are committed together, and fail alone.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use plexus_store::{Change, CommitListener, Database, DbError, OpenError, Position, Tx, first};
use plexus_testkit::databases;

use crate::applied::Applied;

const ROOM: i64 = 7;

fn create(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute("CREATE TABLE notes (position BIGINT NOT NULL UNIQUE, note TEXT NOT NULL)", &[])?;
    Ok(())
}

fn note(tx: &mut Tx<'_>, note: &str) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    tx.execute("INSERT INTO notes (position, note) VALUES ($1, $2)", &[&position, &note])?;
    tx.announce(Change::Event { room: ROOM, position, outgoing: false });
    Ok(position)
}

fn notes(tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
    tx.query("SELECT note FROM notes ORDER BY position", &[], first)
}

/// Keeps the writer busy until the guard is dropped, so that what is written meanwhile becomes one batch.
fn hold(db: &Database) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<(), DbError>>) {
    let (release, wait) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let db = db.clone();
    let task = tokio::spawn(async move {
        db.write(move |_| {
            started.send(()).expect("the test waits");
            // Ends with an error when the guard is dropped: that is the signal.
            let _ = wait.recv();
            Ok::<_, DbError>(())
        })
        .await
    });
    tokio::task::block_in_place(|| running.recv()).expect("the writer runs the closure");
    (release, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_or_panicking_closure_fails_alone() {
    for db in databases() {
        db.write(create).await.unwrap();
        let (release, held) = hold(&db);
        let ok1 = db.write(|tx| note(tx, "first"));
        let failing = db.write(|tx| {
            note(tx, "undone")?;
            Err::<(), _>(DbError::bad_data("test", "on purpose"))
        });
        let ok2 = db.write(|tx| note(tx, "second"));
        let duplicate = db.write(|tx| {
            let position = note(tx, "undone too")?;
            tx.execute("INSERT INTO notes (position, note) VALUES ($1, $2)", &[&position, &"twice"])
        });
        let panicking = db.write(|tx| {
            note(tx, "undone as well")?;
            panic!("on purpose");
            #[expect(unreachable_code, reason = "gives the closure its type")]
            Ok::<(), DbError>(())
        });
        let hiding = db.write(|tx| {
            note(tx, "undone for hiding an error")?;
            let _ = tx.execute("INSERT INTO notes (position, note) VALUES (NULL, $1)", &[&"x"]);
            Ok::<_, DbError>(())
        });
        let ok3 = db.write(|tx| note(tx, "third"));
        // `join!` polls in order, so all wait in the queue when the writer is released.
        let release = async move { drop(release) };
        let (first, failing, second, duplicate, panicking, hiding, third, ()) =
            tokio::join!(ok1, failing, ok2, duplicate, panicking, hiding, ok3, release);
        held.await.unwrap().unwrap();
        assert!(matches!(failing, Err(DbError::BadData { .. })));
        assert!(duplicate.unwrap_err().is_unique_violation());
        assert!(matches!(panicking, Err(DbError::Panicked(message)) if message == "on purpose"));
        assert!(matches!(hiding, Err(DbError::Statement { .. })));
        assert_eq!((first.unwrap(), second.unwrap(), third.unwrap()), (1, 2, 3), "no position is lost");
        assert_eq!(db.read(notes).await.unwrap(), ["first", "second", "third"]);
        assert_eq!(db.committed(), 3);
    }
}

/// Checks the order of its notifications.
struct Follower {
    db: Mutex<Option<Database>>,
    applied: AtomicI64,
    published: AtomicI64,
}

impl CommitListener for Follower {
    fn apply(&self, changes: &[Change]) {
        let db = self.db.lock();
        for change in changes {
            let before = self.applied.swap(change.position(), Ordering::SeqCst);
            assert_eq!(change.position(), before + 1, "changes come in order and without gaps");
            let committed = db.as_ref().map(Database::committed).unwrap();
            assert!(committed < change.position(), "applied before it is published");
        }
    }

    fn published(&self, position: Position, changes: &[Change]) {
        let committed = self.db.lock().as_ref().map(Database::committed).unwrap();
        assert_eq!(committed, position);
        assert_eq!(changes.last().map(Change::position), Some(position));
        self.published.store(position, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_updated_in_order_before_a_position_is_published() {
    const WRITERS: i64 = 8;
    const EACH: i64 = 25;
    for test in databases() {
        let db = test.db();
        db.write(create).await.unwrap();
        let follower = Arc::new(Follower {
            db: Mutex::new(Some(db.clone())),
            applied: AtomicI64::new(0),
            published: AtomicI64::new(0),
        });
        let memory = Arc::<Applied>::default();
        db.add_listener(&follower);
        db.add_listener(&memory);
        let mut tasks = Vec::new();
        for _ in 0..WRITERS {
            let (db, memory) = (db.clone(), Arc::clone(&memory));
            tasks.push(tokio::spawn(async move {
                for _ in 0..EACH {
                    let position = db.write(|tx| note(tx, "x")).await.unwrap();
                    assert!(db.committed() >= position, "an answer comes after publication");
                    assert!(memory.positions().contains(&position));
                }
            }));
        }
        // Readers: everything up to `committed` is there, without gaps.
        for _ in 0..2 {
            let db = db.clone();
            tasks.push(tokio::spawn(async move {
                loop {
                    let upto = db.committed();
                    let found = db
                        .read(move |tx| {
                            tx.query_one("SELECT COUNT(*) FROM notes WHERE position <= $1", &[&upto], first::<i64>)
                        })
                        .await
                        .unwrap();
                    assert_eq!(found, upto);
                    if upto == WRITERS * EACH {
                        return;
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let expected: Vec<i64> = (1..=WRITERS * EACH).collect();
        assert_eq!(memory.positions(), expected);
        db.close().await;
        assert_eq!(follower.applied.load(Ordering::SeqCst), WRITERS * EACH);
        assert_eq!(follower.published.load(Ordering::SeqCst), WRITERS * EACH);
        *follower.db.lock() = None;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_commit_comes_before_what_is_written_next() {
    for test in databases() {
        let db = test.db();
        db.write(create).await.unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let (committed, failed) = (Arc::clone(&ended), Arc::clone(&ended));
        let store = db.clone();
        let closure = move |tx: &mut Tx<'_>| {
            begun.send(()).unwrap();
            wait.recv().unwrap();
            note(tx, "first")
        };
        let done = move |result: Result<Position, DbError>| {
            assert!(store.committed() >= 1, "it is called after the commit");
            committed.lock().push(result.unwrap());
        };
        db.write_then(closure, done).await.unwrap();
        tokio::task::block_in_place(|| has_begun.recv()).unwrap();
        // Handed over while the first is being written.
        let failing = |_: &mut Tx<'_>| Err::<(), _>(DbError::bad_data("test", "on purpose"));
        let refused = move |result: Result<(), DbError>| {
            assert!(matches!(result, Err(DbError::BadData { .. })));
            failed.lock().push(-1);
        };
        db.write_then(failing, refused).await.unwrap();
        let seen = Arc::clone(&ended);
        let next = db.write(move |_| Ok::<_, DbError>(seen.lock().clone()));
        let go_on = async move { go_on.send(()).unwrap() };
        let (seen, ()) = tokio::join!(next, go_on);
        assert_eq!(seen.unwrap()[0], 1);
        db.write_then(|_| Ok::<_, DbError>(()), |_| panic!("on purpose")).await.unwrap();
        assert_eq!(db.read(notes).await.unwrap(), ["first"]);
        db.write(|tx| note(tx, "the writer goes on")).await.unwrap();
        assert_eq!(*ended.lock(), [1, -1]);
        db.close().await;
    }
}

#[tokio::test]
async fn a_read_transaction_sees_one_state_and_cannot_write() {
    for db in databases() {
        db.write(create).await.unwrap();
        let writer = db.db();
        let (before, after) = db
            .read(move |tx| {
                let before = notes(tx)?.len();
                writer.write_blocking(|tx| note(tx, "meanwhile"))?;
                Ok::<_, DbError>((before, notes(tx)?.len()))
            })
            .await
            .unwrap();
        assert_eq!((before, after), (0, 0));
        assert_eq!(db.read(notes).await.unwrap(), ["meanwhile"]);
        let refused = db.read(|tx| tx.execute("DELETE FROM notes", &[])).await;
        assert!(matches!(refused, Err(DbError::Statement { .. })));
        assert!(matches!(db.read(|tx| tx.next_position()).await, Err(DbError::ReadOnly(_))));
    }
}

#[tokio::test]
async fn positions_go_on_after_a_restart_and_a_closed_database_answers() {
    for mut db in databases() {
        db.write(create).await.unwrap();
        assert_eq!(db.write(|tx| note(tx, "a")).await.unwrap(), 1);
        let old = db.db();
        db.reopen().await;
        assert!(matches!(old.write(|tx| note(tx, "lost")).await, Err(DbError::Closed)));
        assert!(matches!(old.read(notes).await, Err(DbError::Closed)));
        assert_eq!(db.committed(), 1);
        assert_eq!(db.write(|tx| note(tx, "b")).await.unwrap(), 2);
        assert_eq!(db.read(notes).await.unwrap(), ["a", "b"]);
    }
}

#[tokio::test]
async fn a_second_server_is_refused() {
    for db in databases() {
        let second = Database::open(db.place().options());
        let error = second.err().expect("the database is in use");
        assert!(matches!(&error, OpenError::InUse(place) if *place == db.place().options().place()), "{error}");
    }
}

/// Panics at the changes of one commit, and keeps all others.
#[derive(Default)]
struct Panicking {
    at: AtomicI64,
    applied: Mutex<Vec<Change>>,
    published: Mutex<Vec<Change>>,
}

impl Panicking {
    fn keep(&self, changes: &[Change], kept: &Mutex<Vec<Change>>) {
        let at = self.at.load(Ordering::SeqCst);
        let panics = |change: &Change| change.position() == at && !matches!(change, Change::Missed { .. });
        assert!(!changes.iter().any(panics), "on purpose");
        kept.lock().extend_from_slice(changes);
    }
}

impl CommitListener for Panicking {
    fn apply(&self, changes: &[Change]) {
        self.keep(changes, &self.applied);
    }

    fn published(&self, _: Position, changes: &[Change]) {
        self.keep(changes, &self.published);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_panics_has_missed_the_commit() {
    for test in databases() {
        let db = test.db();
        db.write(create).await.unwrap();
        let listener = Arc::<Panicking>::default();
        db.add_listener(&listener);
        db.write(|tx| note(tx, "first")).await.unwrap();
        let panics_at = db.committed() + 1;
        listener.at.store(panics_at, Ordering::SeqCst);
        db.write(|tx| note(tx, "second")).await.unwrap();
        db.write(|tx| note(tx, "third")).await.unwrap();
        db.close().await;
        for kept in [&listener.applied, &listener.published] {
            let kept = kept.lock();
            assert_eq!(kept.get(1), Some(&Change::Missed { position: panics_at }), "{kept:?}");
            let positions: Vec<Position> = kept.iter().map(Change::position).collect();
            assert_eq!(positions, [panics_at - 1, panics_at, panics_at + 1]);
        }
    }
}
