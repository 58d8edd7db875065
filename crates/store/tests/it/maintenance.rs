//! `plexus db check` and `plexus db stats`.

use std::path::Path;

use plexus_store::maintenance::{check, stats};
use plexus_store::migrate::MigrateError;
use plexus_store::repo::server;
use plexus_store::{Backend, OpenError};
use plexus_testkit::{blank_places, databases};

#[tokio::test]
async fn statistics_name_every_table() {
    for db in databases() {
        db.write(|tx| server::claim(tx, "a.example")).await.unwrap();
        let tables = stats(db.place().options()).unwrap();
        let server = tables.iter().find(|table| table.table == "server").expect("the table is listed");
        assert_eq!(server.rows, 1);
        assert!(server.bytes >= 4096, "{}", server.bytes);
        assert!(tables.iter().any(|table| table.table == "events"));
    }
}

#[tokio::test]
async fn contradicting_rows_are_found() {
    for db in databases() {
        assert_eq!(check(db.place().options()).unwrap(), []);
        db.write(|tx| {
            tx.execute("INSERT INTO devices (user_id, device_id, created_ts) VALUES ('@nobody:a', 'D', 1)", &[])
        })
        .await
        .unwrap();
        let problems = check(db.place().options()).unwrap();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].rule, "a device belongs to a user");
        assert_eq!(problems[0].found, "device D of @nobody:a");
    }
}

#[test]
fn a_database_without_a_schema_is_refused() {
    for place in blank_places() {
        let error = check(place.options()).unwrap_err();
        let is_empty = matches!(&error, OpenError::Migrate { error, .. } if matches!(**error, MigrateError::Empty));
        assert!(is_empty && error.to_string().contains("there is no data yet"), "{error}");
        if place.options().backend() == Backend::Sqlite {
            assert!(!Path::new(&place.options().place()).exists(), "no file is made");
        }
    }
}
