//! kill -9 at any moment loses nothing that was acknowledged: a process writes, is killed 50 times, and what
//! it said is compared with what is there.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use plexus_base::Random;
use plexus_store::maintenance::check;
use plexus_store::{Backend, Change, Database, DbError, Options, Position, Tx};
use plexus_testkit::places;

const ROUNDS: u64 = 50;
const WRITERS: i64 = 16;
const CHILD_VARIABLE: &str = "PLEXUS_KILL_TEST";

fn create(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute(
        "CREATE TABLE IF NOT EXISTS writes (position BIGINT NOT NULL PRIMARY KEY, round BIGINT NOT NULL,
             writer BIGINT NOT NULL, number BIGINT NOT NULL)",
        &[],
    )?;
    tx.execute("CREATE TABLE IF NOT EXISTS twin (position BIGINT NOT NULL PRIMARY KEY, data BYTEA NOT NULL)", &[])?;
    Ok(())
}

fn write(tx: &mut Tx<'_>, round: i64, writer: i64, number: i64) -> Result<Position, DbError> {
    let position = tx.next_position()?;
    tx.execute(
        "INSERT INTO writes (position, round, writer, number) VALUES ($1, $2, $3, $4)",
        &[&position, &round, &writer, &number],
    )?;
    tx.execute("INSERT INTO twin (position, data) VALUES ($1, $2)", &[&position, &vec![0xA5_u8; 600]])?;
    tx.announce(Change::Event { room: 1, position, outgoing: false });
    Ok(position)
}

/// The process that is killed: writes without end and tells each acknowledged write.
#[tokio::test]
#[ignore = "started by the test below"]
async fn writer_process() {
    let Ok(place) = std::env::var(CHILD_VARIABLE) else {
        return;
    };
    let place: serde_json::Value = serde_json::from_str(&place).unwrap();
    let name = place["name"].as_str().unwrap();
    let round = place["round"].as_i64().unwrap();
    let options = Options::from_config(name, place["args"].as_object().unwrap(), false, "/".as_ref()).unwrap();
    let db = Database::open(&options).unwrap();
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0.. {
                let position = db.write(move |tx| write(tx, round, writer, number)).await.unwrap();
                // Past the harness, which would keep it. One write a line: a line is written whole or not at all.
                let line = format!("acknowledged {position} {round} {writer} {number}\n");
                if std::io::stdout().write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Starts the process, kills it after `limit` acknowledged writes, returns the acknowledged writes.
fn run_and_kill(place: &str, limit: usize) -> Vec<[i64; 4]> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "kill::writer_process", "--nocapture"])
        .env(CHILD_VARIABLE, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(numbers) = line.strip_prefix("acknowledged ") else {
            continue;
        };
        let numbers: Vec<i64> = numbers.split(' ').filter_map(|number| number.parse().ok()).collect();
        // The last line may be cut off.
        let Ok(numbers) = <[i64; 4]>::try_from(numbers) else {
            continue;
        };
        acknowledged.push(numbers);
        if acknowledged.len() == limit {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= limit, "the process ended before it was killed");
    acknowledged
}

fn stored(tx: &mut Tx<'_>) -> Result<Vec<[i64; 4]>, DbError> {
    tx.query(
        "SELECT writes.position, round, writer, number FROM writes JOIN twin ON twin.position = writes.position
         ORDER BY writes.position",
        &[],
        |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]),
    )
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let random = Random::seeded(9);
    for place in places() {
        let name = match place.options().backend() {
            Backend::Sqlite => "sqlite3",
            Backend::Postgres => "psycopg2",
        };
        let db = Database::open(place.options()).unwrap();
        db.write_blocking(create).unwrap();
        db.close_blocking();
        let mut acknowledged: Vec<[i64; 4]> = Vec::new();
        for round in 0..ROUNDS {
            let text = serde_json::json!({ "name": name, "args": place.args(), "round": round }).to_string();
            acknowledged.extend(run_and_kill(&text, 1 + usize::try_from(random.below(150)).unwrap()));
            let db = Database::open(place.options()).unwrap();
            let rows = db.read_blocking(stored).unwrap();
            let positions: Vec<i64> = rows.iter().map(|row| row[0]).collect();
            let all: Vec<i64> = (1..=db.committed()).collect();
            assert_eq!(positions, all, "{name}, round {round}: a write is there whole or not at all");
            let rows: HashSet<[i64; 4]> = rows.into_iter().collect();
            let lost: Vec<_> = acknowledged.iter().filter(|write| !rows.contains(*write)).collect();
            assert!(lost.is_empty(), "{name}, round {round}: acknowledged, but lost: {lost:?}");
            db.close_blocking();
        }
        assert_eq!(check(place.options()).unwrap(), []);
        let line = format!("{name}: {ROUNDS} kills, {} acknowledged writes, none lost\n", acknowledged.len());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}
