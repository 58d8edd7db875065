//! PostgreSQL behind a connection that breaks at the worst moments.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use plexus_store::{Database, DbError, Options, Position, Tx, first};
use plexus_testkit::TestPlace;
use serde_json::json;

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
}

impl Proxy {
    fn start(target: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("plexus-proxy-{}", plexus_testkit::unique_name()));
        std::fs::create_dir(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
        let mode = Arc::new(AtomicU8::new(PASS));
        let open = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self { folder, mode: Arc::clone(&mode), open: Arc::clone(&open) };
        let target = target.join(".s.PGSQL.5432");
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if mode.load(Ordering::SeqCst) == DOWN {
                    continue;
                }
                let server = UnixStream::connect(&target).unwrap();
                open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let mode = Arc::clone(&mode);
                std::thread::spawn(move || forward(&client, &server, &mode));
            }
        });
        proxy
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    /// Breaks every connection there is.
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn forward(client: &UnixStream, server: &UnixStream, mode: &Arc<AtomicU8>) {
    let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let cut = Arc::new(AtomicU8::new(0));
    let swallow = Arc::clone(&cut);
    let down = Arc::clone(mode);
    let answers = std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            if swallow.load(Ordering::SeqCst) != 0 {
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
    /// What `after_commit` has told.
    memory: Arc<Mutex<Vec<Position>>>,
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
        Some(Self { proxy, db, memory: Arc::default(), _place: place })
    }

    async fn write(&self) -> Result<Position, DbError> {
        let memory = Arc::clone(&self.memory);
        self.db
            .write(move |tx| {
                let position = tx.next_position()?;
                tx.execute("INSERT INTO notes (position) VALUES ($1)", &[&position])?;
                tx.after_commit(move || memory.lock().unwrap().push(position));
                Ok(position)
            })
            .await
    }

    async fn stored(&self) -> Vec<Position> {
        let query = |tx: &mut Tx<'_>| tx.query("SELECT position FROM notes ORDER BY position", &[], first);
        self.db.read(query).await.unwrap()
    }

    fn memory(&self) -> Vec<Position> {
        self.memory.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn idle_connections_are_made_anew() {
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
            for stream in open.lock().unwrap().drain(..) {
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
