//! PostgreSQL itself crashes and recovers under load: what was acknowledged is there, and memory, which is
//! updated by what commits, agrees with the database.

use std::process::Command;
use std::sync::Arc;

use plexus_store::{Database, DbError, Options, Position, first};
use plexus_testkit::postgres::{Cluster, USER, cluster};
use serde_json::json;

use crate::applied::{Applied, change};

const CRASHES: usize = 5;
const WRITERS: usize = 8;

/// Kills a server process of PostgreSQL: the postmaster then ends all sessions and recovers.
async fn crash(db: &Database) {
    let pid = db
        .read(|tx| {
            let sql = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'plexus'
                       ORDER BY backend_start LIMIT 1";
            tx.query_one(sql, &[], first::<i64>)
        })
        .await;
    // While it recovers there is nobody to ask, and nothing to crash.
    let Ok(pid) = pid else { return };
    Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
}

async fn write(db: &Database) -> Result<Position, DbError> {
    db.write(move |tx| {
        let position = tx.next_position()?;
        tx.execute("INSERT INTO notes (position) VALUES ($1)", &[&position])?;
        tx.announce(change(position));
        Ok(position)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_postgresql_crashes() {
    if cluster().is_none() {
        return;
    }
    let cluster = Cluster::start(false).unwrap();
    let args = json!({ "host": cluster.host(), "user": USER, "dbname": "postgres", "cp_max": 3 });
    let options = Options::from_config("psycopg2", args.as_object().unwrap(), false, "".as_ref()).unwrap();
    let db = Database::open(&options).unwrap();
    db.write(|tx| tx.execute("CREATE TABLE notes (position BIGINT NOT NULL)", &[])).await.unwrap();
    let memory = Arc::<Applied>::default();
    db.add_listener(&memory);
    let mut acknowledged = Vec::new();
    for _ in 0..CRASHES {
        let mut tasks = Vec::new();
        for number in 0..WRITERS {
            let db = db.clone();
            tasks.push(tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for count in 0..40 {
                    if number == 0 && count == 20 {
                        crash(&db).await;
                    }
                    // An error is no acknowledgement: nothing is expected of it.
                    if let Ok(position) = write(&db).await {
                        acknowledged.push(position);
                    }
                }
                acknowledged
            }));
        }
        for task in tasks {
            acknowledged.extend(task.await.unwrap());
        }
        // It comes back by itself; what was in doubt is settled by the first write that succeeds.
        while write(&db).await.is_err() {}
    }
    let sql = "SELECT position FROM notes ORDER BY position";
    let stored: Vec<Position> = db.read(|tx| tx.query(sql, &[], first)).await.unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|position| !stored.contains(position)).collect();
    assert!(lost.is_empty(), "acknowledged, but lost: {lost:?}");
    assert_eq!(stored, (1..=db.committed()).collect::<Vec<_>>());
    assert_eq!(memory.positions(), stored);
    assert!(acknowledged.len() > CRASHES * WRITERS, "only {} writes were acknowledged", acknowledged.len());
    db.close().await;
}
