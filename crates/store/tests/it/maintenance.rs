//! `plexus db check` and `plexus db stats`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plexus_store::DbError;
use plexus_store::db::MigrateError;
use plexus_store::maintenance::{check, edit, require_current, stats};
use plexus_store::repo::registration_tokens::{self, RegistrationToken};
use plexus_store::repo::server;
use plexus_store::{Backend, OpenError, Options};
use plexus_testkit::{TestPlace, blank_places, databases};

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

/// The files beside an SQLite database, itself included, with their contents.
fn files(place: &TestPlace) -> BTreeMap<PathBuf, Vec<u8>> {
    let Options::Sqlite(options) = place.options() else { panic!("it is PostgreSQL") };
    let folder = options.path.parent().unwrap();
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn looking_at_a_database_changes_no_file() {
    let database = TestPlace::sqlite().open();
    database.write(|tx| server::claim(tx, "a.example")).await.unwrap();
    database.db().close().await;
    let place = database.place();
    for journal_mode in ["WAL", "DELETE"] {
        place.run(&[&format!("PRAGMA journal_mode = {journal_mode}")]);
        let before = files(place);
        require_current(place.options()).unwrap();
        assert_eq!(check(place.options()).unwrap(), []);
        assert!(stats(place.options()).unwrap().iter().any(|table| table.table == "server" && table.rows == 1));
        assert!(files(place) == before, "{journal_mode}");
    }
}

#[tokio::test]
async fn what_a_command_changes_is_kept_when_it_succeeds() {
    for db in databases() {
        let options = db.place().options();
        let token = |name: &str| RegistrationToken {
            token: name.to_owned(),
            uses_allowed: None,
            pending: 0,
            completed: 0,
            expiry_ts: None,
        };
        assert!(edit::<_, DbError>(options, |tx| registration_tokens::insert(tx, &token("kept"))).unwrap().unwrap());
        let failed = edit(options, |tx| {
            registration_tokens::insert(tx, &token("undone"))?;
            Err::<(), _>(DbError::Closed)
        });
        assert!(failed.unwrap().is_err());
        let list = db.read::<_, DbError, _>(registration_tokens::list).await.unwrap();
        assert_eq!(list, [token("kept")]);
        db.write::<_, DbError, _>(|tx| registration_tokens::delete(tx, "kept")).await.unwrap();
    }
}
