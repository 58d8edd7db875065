//! PostgreSQL behind a connection that breaks at the worst moments.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;
use plexus_store::{Database, DbError, Options, Position, Tx, first};
use plexus_testkit::TestPlace;
use serde_json::json;

use crate::applied::{Applied, change};

const PASS: u8 = 0;
/// The next COMMIT reaches the server, its answer does not reach the client.
const CUT_AFTER_COMMIT: u8 = 1;
/// As before, and no new connection is let through.
const CUT_AFTER_COMMIT_AND_STAY_DOWN: u8 = 2;
/// The next COMMIT does not reach the server.
const CUT_BEFORE_COMMIT: u8 = 3;
/// Nothing is let through.
const DOWN: u8 = 4;

/// Forwards a Unix socket of its own to the cluster's.
struct Proxy {
    folder: PathBuf,
    mode: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<UnixStream>>>,
    /// How often the client has sent something: a round trip each, because it waits for the answer.
    flights: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(target: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("plexus-proxy-{}", plexus_testkit::unique_name()));
        std::fs::create_dir(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
        let mode = Arc::new(AtomicU8::new(PASS));
        let open = Arc::new(Mutex::new(Vec::new()));
        let flights = Arc::new(AtomicUsize::new(0));
        let proxy = Self { folder, mode: Arc::clone(&mode), open: Arc::clone(&open), flights: Arc::clone(&flights) };
        let target = target.join(".s.PGSQL.5432");
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if mode.load(Ordering::SeqCst) == DOWN {
                    continue;
                }
                let server = UnixStream::connect(&target).unwrap();
                open.lock().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (mode, flights) = (Arc::clone(&mode), Arc::clone(&flights));
                std::thread::spawn(move || forward(&client, &server, &mode, &flights));
            }
        });
        proxy
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    /// Breaks every connection there is.
    fn cut(&self) {
        for stream in self.open.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn forward(client: &UnixStream, server: &UnixStream, mode: &Arc<AtomicU8>, flights: &AtomicUsize) {
    let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let cut = Arc::new(AtomicU8::new(0));
    let swallow = Arc::clone(&cut);
    let down = Arc::clone(mode);
    let answers = std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            if swallow.load(Ordering::SeqCst) != 0 {
                if !buffer[..length].windows(6).any(|window| window == b"COMMIT") {
                    continue;
                }
                // The server has answered the COMMIT: it is stored. The client will not hear of it.
                let after = if swallow.load(Ordering::SeqCst) == 2 { DOWN } else { PASS };
                down.store(after, Ordering::SeqCst);
                break;
            }
            if to_client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
    let (mut from_client, mut to_server) = (client, server);
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from_client.read(&mut buffer) {
        flights.fetch_add(1, Ordering::SeqCst);
        if buffer[..length].windows(6).any(|window| window == b"COMMIT") {
            match mode.load(Ordering::SeqCst) {
                CUT_AFTER_COMMIT => cut.store(1, Ordering::SeqCst),
                CUT_AFTER_COMMIT_AND_STAY_DOWN => cut.store(2, Ordering::SeqCst),
                CUT_BEFORE_COMMIT => {
                    mode.store(PASS, Ordering::SeqCst);
                    break;
                }
                _ => {}
            }
        }
        if to_server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
    answers.join().unwrap();
}

struct Fixture {
    proxy: Proxy,
    db: Database,
    memory: Arc<Applied>,
    // Dropped last: it removes the database.
    _place: TestPlace,
}

impl Fixture {
    async fn start() -> Option<Self> {
        let place = TestPlace::postgres()?;
        let proxy = Proxy::start(Path::new(place.args()["host"].as_str().unwrap()));
        let mut args = place.args().clone();
        args.insert("host".to_owned(), json!(proxy.folder));
        let options = Options::from_config("psycopg2", &args, false, "".as_ref()).unwrap();
        let db = Database::open(&options).unwrap();
        db.write(|tx| tx.execute("CREATE TABLE notes (position BIGINT NOT NULL)", &[])).await.unwrap();
        let memory = Arc::<Applied>::default();
        db.add_listener(&memory);
        Some(Self { proxy, db, memory, _place: place })
    }

    async fn write(&self) -> Result<Position, DbError> {
        self.db
            .write(move |tx| {
                let position = tx.next_position()?;
                tx.execute("INSERT INTO notes (position) VALUES ($1)", &[&position])?;
                tx.announce(change(position));
                Ok(position)
            })
            .await
    }

    /// As [`Fixture::write`], but nothing is waited for before the commit.
    async fn write_at_once(&self) -> Result<Position, DbError> {
        self.db
            .write(move |tx| {
                let position = tx.next_position()?;
                tx.execute_later("INSERT INTO notes (position) VALUES ($1)", &[&position])?;
                tx.announce(change(position));
                Ok(position)
            })
            .await
    }

    async fn stored(&self) -> Vec<Position> {
        let query = |tx: &mut Tx<'_>| tx.query("SELECT position FROM notes ORDER BY position", &[], first);
        self.db.read(query).await.unwrap()
    }

    fn memory(&self) -> Vec<Position> {
        self.memory.positions()
    }
}

#[tokio::test]
async fn idle_connections_are_opened_again() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    assert_eq!(test.write().await.unwrap(), 1);
    assert_eq!(test.stored().await, [1]);
    test.proxy.cut();
    assert_eq!(test.write().await.unwrap(), 2);
    test.proxy.cut();
    assert_eq!(test.stored().await, [1, 2]);
}

#[tokio::test]
async fn a_connection_lost_inside_a_closure_stores_nothing() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    let open = Arc::clone(&test.proxy.open);
    let lost = test
        .db
        .write(move |tx| {
            tx.execute("INSERT INTO notes (position) VALUES (99)", &[])?;
            for stream in open.lock().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            tx.execute("INSERT INTO notes (position) VALUES (100)", &[])
        })
        .await;
    assert!(matches!(lost, Err(DbError::Unavailable(_))), "{lost:?}");
    assert_eq!(test.write().await.unwrap(), 1);
    assert_eq!(test.stored().await, [1]);
}

#[tokio::test]
async fn what_was_sent_ahead_on_an_idle_connection_that_was_closed_is_sent_again() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    let write = async || {
        test.db
            .write(|tx| {
                let position = tx.next_position()?;
                tx.execute_later("INSERT INTO notes (position) VALUES ($1)", &[&position])?;
                tx.execute_later("UPDATE notes SET position = position + 1000 WHERE position = $1", &[&position])?;
                Ok::<_, DbError>(position)
            })
            .await
    };
    assert_eq!(write().await.unwrap(), 1);
    test.proxy.cut();
    assert_eq!(write().await.unwrap(), 2);
    test.proxy.cut();
    assert_eq!(test.stored().await, [1001, 1002]);
}

#[tokio::test]
async fn a_connection_lost_between_a_statement_and_what_comes_of_it_stores_nothing() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    let open = Arc::clone(&test.proxy.open);
    let lost = test
        .db
        .write(move |tx| {
            tx.execute_later("INSERT INTO notes (position) VALUES (98)", &[])?;
            // Answered: the transaction has begun, so nothing of it may be sent again.
            tx.query("SELECT position FROM notes", &[], first::<i64>)?;
            let later = tx.execute_later("INSERT INTO notes (position) VALUES (99)", &[])?;
            for stream in open.lock().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
            tx.execute_later("INSERT INTO notes (position) VALUES (100)", &[])?;
            tx.changed(later)
        })
        .await;
    assert!(matches!(lost, Err(DbError::Unavailable(_))), "{lost:?}");
    assert_eq!(test.write().await.unwrap(), 1);
    assert_eq!(test.stored().await, [1]);
}

#[tokio::test]
async fn a_write_takes_one_round_trip_and_one_for_what_it_asks() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    let write = async || {
        let written = test.db.write(|tx| {
            let position = tx.next_position()?;
            let sql = "INSERT INTO notes (position) VALUES ($1)";
            let counts = [tx.execute_later(sql, &[&position])?, tx.execute_later(sql, &[&-position])?];
            counts.into_iter().try_fold(0, |sum, later| Ok::<_, DbError>(sum + tx.changed(later)?))
        });
        assert_eq!(written.await.unwrap(), 2);
    };
    // The first prepares the statements and reads the clock.
    write().await;
    let before = test.proxy.flights.load(Ordering::SeqCst);
    write().await;
    let written = test.proxy.flights.load(Ordering::SeqCst);
    assert_eq!(written - before, 2, "all that is sent ahead, since its counts are asked, and the commit");
    test.write_at_once().await.unwrap();
    let before = test.proxy.flights.load(Ordering::SeqCst);
    test.write_at_once().await.unwrap();
    let written = test.proxy.flights.load(Ordering::SeqCst);
    assert_eq!(written - before, 1, "all that is sent ahead together with the commit");
    test.db.write(|_| Ok::<_, DbError>(())).await.unwrap();
    assert_eq!(test.proxy.flights.load(Ordering::SeqCst), written, "nothing to write is nothing to send");
}

#[tokio::test]
async fn a_clock_that_somebody_else_has_moved_is_read_again() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    assert_eq!(test.write().await.unwrap(), 1);
    let moved = test.db.write(|tx| tx.execute("UPDATE clock SET position = 41 WHERE id = 1", &[])).await;
    assert_eq!(moved.unwrap(), 1);
    let refused = test.write().await;
    assert!(matches!(refused, Err(DbError::Commit(_))), "{refused:?}");
    assert_eq!(test.write().await.unwrap(), 42);
    assert_eq!((test.stored().await, test.memory()), (vec![1, 42], vec![1, 42]));
}

#[tokio::test]
async fn the_writers_session_stores_nothing_outside_of_a_transaction() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    let settings =
        "SELECT current_setting('default_transaction_read_only') || current_setting('transaction_read_only')";
    let found: Result<String, DbError> = test.db.write(move |tx| tx.query_one(settings, &[], first)).await;
    assert_eq!(found.unwrap(), "onoff");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_asked_about() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    test.proxy.set(CUT_AFTER_COMMIT);
    assert_eq!(test.write().await.unwrap(), 1, "it was stored, and that is what the caller hears");
    assert_eq!((test.memory(), test.db.committed()), (vec![1], 1));
    test.proxy.set(CUT_BEFORE_COMMIT);
    let failed = test.write().await;
    assert!(matches!(failed, Err(DbError::Commit(_))), "{failed:?}");
    assert_eq!(test.write().await.unwrap(), 2, "nothing was stored, so its position is given again");
    assert_eq!(test.stored().await, [1, 2]);
    assert_eq!(test.memory(), [1, 2]);
}

#[tokio::test]
async fn what_was_sent_together_with_a_commit_whose_answer_is_lost_is_stored_once() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    for first in [1, 5] {
        // On a new connection statements are prepared, which is waited for; on one that is in use nothing is.
        test.proxy.set(CUT_AFTER_COMMIT);
        assert_eq!(test.write_at_once().await.unwrap(), first, "it was stored");
        assert_eq!(test.write_at_once().await.unwrap(), first + 1);
        test.proxy.set(CUT_AFTER_COMMIT);
        assert_eq!(test.write_at_once().await.unwrap(), first + 2, "it was stored");
        assert_eq!(test.write_at_once().await.unwrap(), first + 3);
    }
    test.proxy.set(CUT_BEFORE_COMMIT);
    assert_eq!(test.write_at_once().await.unwrap(), 9, "nothing of it had arrived: it is sent again");
    test.proxy.cut();
    assert_eq!(test.write_at_once().await.unwrap(), 10, "as what the server has closed while it was idle");
    test.proxy.set(CUT_AFTER_COMMIT_AND_STAY_DOWN);
    let unknown = test.write_at_once().await;
    assert!(matches!(unknown, Err(DbError::CommitUnknown(_))), "{unknown:?}");
    test.proxy.set(PASS);
    assert_eq!(test.write_at_once().await.unwrap(), 12, "and the eleventh was stored");
    let all: Vec<Position> = (1..=12).collect();
    assert_eq!((test.stored().await, test.memory()), (all.clone(), all));
}

#[tokio::test]
async fn what_memory_missed_while_the_database_was_away_is_made_good() {
    let Some(test) = Fixture::start().await else {
        return;
    };
    test.proxy.set(CUT_AFTER_COMMIT_AND_STAY_DOWN);
    let unknown = test.write().await;
    assert!(matches!(unknown, Err(DbError::CommitUnknown(_))), "{unknown:?}");
    let refused = test.write().await;
    assert!(matches!(refused, Err(DbError::Unavailable(_))), "{refused:?}");
    assert_eq!((test.memory(), test.db.committed()), (vec![], 0));
    test.proxy.set(PASS);
    assert_eq!(test.write().await.unwrap(), 2);
    assert_eq!(test.memory(), [1, 2], "the batch in doubt was stored: memory learns of it first");
    assert_eq!(test.stored().await, [1, 2]);
}
