//! Stores the rows that sending one message writes, with real commits, on every database of this machine. `cargo bench
//! -p plexus-store`; prints measurements, tests nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_store::repo::{events, rooms, transactions};
use plexus_store::{Database, DbError, Options, Tx};
use plexus_testkit::postgres::{Cluster, USER};

const ROOMS: i64 = 100;
/// Each room's revision, as the room engine keeps it in memory.
static REVISIONS: [AtomicI64; 101] = [const { AtomicI64::new(0) }; 101];
/// The size of a typical message's JSON after packing, in bytes.
const PACKED: usize = 300;
/// Clients that send at the same time.
const SENDERS: u32 = 100;

/// Events per measurement.
const EVENTS: u32 = 5_000;

#[tokio::main]
async fn main() {
    run(EVENTS).await;
}

async fn run(count: u32) {
    let folder = std::env::temp_dir().join(format!("plexus-bench-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir_all(&folder) {
        eprintln!("cannot make {}: {error}", folder.display());
        return;
    }
    let options = Options::sqlite(folder.join("homeserver.db"));
    report("SQLite", &options, count).await;
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        eprintln!("cannot remove {}: {error}", folder.display());
    }
    match postgres() {
        Ok((cluster, options)) => {
            report("PostgreSQL", &options, count).await;
            drop(cluster);
        }
        Err(reason) => println!("PostgreSQL: skipped: {reason}"),
    }
}

fn postgres() -> Result<(Cluster, Options), String> {
    let cluster = Cluster::start(true)?;
    cluster.admin(&["CREATE DATABASE bench"]).map_err(|error| error.to_string())?;
    let mut config = plexus_store::db::PostgresOptions::new();
    config.config.host_path(cluster.host()).user(USER).dbname("bench");
    Ok((cluster, Options::Postgres(Box::new(config))))
}

async fn report(name: &str, options: &Options, count: u32) {
    let db = match Database::open(options) {
        Ok(db) => db,
        Err(error) => return println!("{name}: {error}"),
    };
    if let Err(error) = measure(name, &db, count).await {
        println!("{name}: {error}");
    }
    db.close().await;
}

async fn measure(name: &str, db: &Database, count: u32) -> Result<(), DbError> {
    db.write(|tx| (1..=ROOMS).try_for_each(|room| new_room(tx, room))).await?;
    let clock = Clock::system();
    let mut next = 1;
    for batch in [1, 10, 100] {
        let mut figures = Figures::default();
        let start = clock.monotonic();
        let commits = (count / batch).max(1);
        for _ in 0..commits {
            let began = clock.monotonic();
            let first = next;
            next += i64::from(batch);
            db.write(move |tx| store(tx, first, i64::from(batch))).await?;
            figures.add(clock.monotonic() - began);
        }
        figures.finish(clock.monotonic() - start, u64::from(commits * batch));
        figures.print(&format!("{name}: one writer, {batch} event(s) a transaction"));
    }
    concurrent(name, db, &clock, next, count).await
}

/// Many writers of one event each: measures group commit.
async fn concurrent(name: &str, db: &Database, clock: &Clock, first: i64, count: u32) -> Result<(), DbError> {
    let each = (count / SENDERS).max(1);
    let start = clock.monotonic();
    let mut tasks = Vec::new();
    for sender in 0..SENDERS {
        let (db, clock) = (db.clone(), clock.clone());
        let first = first + i64::from(sender * each);
        tasks.push(tokio::spawn(async move {
            let mut samples = Vec::new();
            for nid in first..first + i64::from(each) {
                let began = clock.monotonic();
                db.write(move |tx| store(tx, nid, 1)).await?;
                samples.push(clock.monotonic() - began);
            }
            Ok::<_, DbError>(samples)
        }));
    }
    let mut figures = Figures::default();
    for task in tasks {
        let samples = task.await.map_err(|error| DbError::Panicked(error.to_string()))??;
        samples.into_iter().for_each(|sample| figures.add(sample));
    }
    figures.finish(clock.monotonic() - start, u64::from(SENDERS * each));
    figures.print(&format!("{name}: {SENDERS} writers, 1 event a transaction"));
    Ok(())
}

fn new_room(tx: &mut Tx<'_>, room_nid: i64) -> Result<(), DbError> {
    let row = rooms::RoomRow {
        room_nid,
        room_id: format!("!{room_nid}:localhost"),
        room_version: "12".to_owned(),
        revision: 0,
        extremities: Vec::new(),
        depth: 0,
        snapshot_nid: 0,
        position: 0,
        published: false,
    };
    REVISIONS[usize::try_from(room_nid).unwrap_or(0)].store(0, Ordering::Relaxed);
    rooms::insert(tx, &row)
}

/// Writes what the room engine writes for messages: the event, its request, the room's row.
fn store(tx: &mut Tx<'_>, first: i64, count: i64) -> Result<(), DbError> {
    let random = Random::system();
    let (mut new, mut requests) = (Vec::new(), Vec::new());
    for event_nid in first..first + count {
        let position = tx.next_position()?;
        let room_nid = 1 + event_nid % ROOMS;
        new.push(events::NewEvent {
            event_nid,
            event_id: random.bytes::<32>().to_vec(),
            room_nid,
            position: Some(position),
            late: false,
            depth: position,
            type_nid: 1,
            state_key_nid: None,
            sender_nid: 1,
            origin_server_ts: 1_700_000_000_000,
            snapshot_nid: Some(0),
            verdict: events::Verdict::Accepted,
            json: random.bytes::<PACKED>().to_vec(),
        });
        requests.push(transactions::TransactionRow {
            event_nid,
            scope: room_nid,
            device_id: "ABCDEFGHIJ".to_owned(),
            txn_id: format!("m1700000000000.{event_nid}").into_bytes(),
            created_ts: 1_700_000_000_000,
        });
    }
    transactions::insert(tx, &requests)?;
    events::insert(tx, &new)?;
    // A room may occur several times in a batch: its last event becomes the extremity.
    let last: BTreeMap<i64, &events::NewEvent> = new.iter().map(|event| (event.room_nid, event)).collect();
    let rows: Vec<rooms::Advance> = last
        .values()
        .map(|event| rooms::Advance {
            room_nid: event.room_nid,
            // As in the room engine, memory has the revision; closures run in order.
            expected_revision: REVISIONS[usize::try_from(event.room_nid).unwrap_or(0)].fetch_add(1, Ordering::Relaxed),
            extremities: vec![event.event_nid],
            depth: event.depth,
            snapshot_nid: 0,
            position: event.position,
        })
        .collect();
    rooms::advance(tx, &rows)?;
    Ok(())
}

/// The measurements.
#[derive(Default)]
struct Figures {
    samples: Vec<Duration>,
    total: Duration,
    items: u64,
}

impl Figures {
    /// Adds one operation.
    fn add(&mut self, sample: Duration) {
        self.samples.push(sample);
    }

    /// Sets the duration of the whole measurement and the number of items.
    fn finish(&mut self, total: Duration, items: u64) {
        self.total = total;
        self.items = items;
    }

    /// Prints one line: the time per item, items per second, and the median and slowest operations.
    fn print(mut self, name: &str) {
        self.samples.sort_unstable();
        let per_item = self.total.as_secs_f64() * 1e6 / self.items.max(1) as f64;
        println!(
            "{name:<52} {per_item:>9.1} us/item {:>9.0}/s   p50 {:>9} p99 {:>9}",
            1e6 / per_item,
            self.at(50),
            self.at(99),
        );
    }

    fn at(&self, percent: usize) -> String {
        let index = (self.samples.len() * percent / 100).min(self.samples.len().saturating_sub(1));
        let sample = self.samples.get(index).copied().unwrap_or_default();
        format!("{:.2} ms", sample.as_secs_f64() * 1e3)
    }
}
