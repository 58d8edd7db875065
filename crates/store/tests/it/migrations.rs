//! The schema: one text for both databases, and never backwards.

use std::path::{Path, PathBuf};

use plexus_store::db::{Foreign, MigrateError, OpenError, migrate_database};
use plexus_store::migrate::latest;
use plexus_store::repo::server;
use plexus_store::{Backend, Database, DbError, maintenance};
use plexus_testkit::{TestPlace, blank_places, databases, places};

#[tokio::test]
async fn a_newer_database_is_refused_with_a_sentence() {
    for test in databases() {
        test.write(|tx| tx.execute("INSERT INTO schema_version (number, name) VALUES (9999, 'future')", &[]))
            .await
            .unwrap();
        test.close().await;
        let error = Database::open(test.place().options()).err().expect("it is refused");
        let too_new = MigrateError::TooNew { database: 9999, binary: latest() };
        let expected = format!("{}: {too_new}", test.place().options().place());
        assert!(matches!(&error, OpenError::Migrate { error, .. } if error.to_string() == too_new.to_string()));
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_database_that_lacks_an_earlier_migration_is_not_current() {
    for test in databases() {
        test.write(|tx| tx.execute("DELETE FROM schema_version WHERE number = 48", &[])).await.unwrap();
        test.close().await;
        let error = maintenance::require_current(test.place().options()).expect_err("it is refused");
        let OpenError::Migrate { error, .. } = error else { panic!("{error}") };
        assert!(matches!(*error, MigrateError::TooOld { .. }), "{error}");
    }
}

#[test]
fn migrating_twice_changes_nothing() {
    for place in places() {
        migrate_database(place.options()).unwrap();
        assert_eq!(migrate_database(place.options()).unwrap(), Vec::<i64>::new());
    }
}

#[tokio::test]
async fn the_server_name_is_recorded_once() {
    for db in databases() {
        assert_eq!(db.read(server::name).await.unwrap(), None);
        assert_eq!(db.write(|tx| server::claim(tx, "a.example")).await.unwrap(), "a.example");
        assert_eq!(db.write(|tx| server::claim(tx, "b.example")).await.unwrap(), "a.example");
        assert_eq!(db.read(server::name).await.unwrap().as_deref(), Some("a.example"));
        let error = db.write(|tx| tx.query("SELECT nope FROM server", &[], |row| row.get::<i64>(0))).await;
        assert!(matches!(error, Err(DbError::Statement { .. })));
    }
}

/// The tables by which a database of Synapse is known, as Synapse makes them.
const SYNAPSE: [&str; 3] = [
    "CREATE TABLE schema_version(
        Lock CHAR(1) NOT NULL DEFAULT 'X' UNIQUE, version INTEGER NOT NULL, upgraded BOOL NOT NULL, CHECK (Lock='X'))",
    "INSERT INTO schema_version (version, upgraded) VALUES (93, true)",
    "CREATE TABLE applied_schema_deltas(version INTEGER NOT NULL, file TEXT NOT NULL, UNIQUE(version, file))",
];

/// Checks that nothing opens the database. Returns the message of the server.
fn refusal(place: &TestPlace, expected: Foreign) -> String {
    let options = place.options();
    let errors = [
        Database::open(options).err(),
        migrate_database(options).err(),
        maintenance::stats(options).err(),
        maintenance::check(options).err(),
    ];
    for error in &errors {
        assert!(matches!(error, Some(OpenError::Foreign { found, .. }) if *found == expected), "{error:?}");
    }
    let error = errors.into_iter().flatten().next().expect("there is one").to_string();
    assert!(error.starts_with(&options.place()) && error.contains("database.args"), "{error}");
    error
}

#[test]
fn databases_of_others_are_refused_and_left_as_they_are() {
    for place in blank_places() {
        place.run(&SYNAPSE);
        let before = file(&place);
        let error = refusal(&place, Foreign::Synapse);
        assert!(error.contains("is a database of Synapse"), "{error}");
        assert_eq!(file(&place), before);
    }
    for place in blank_places() {
        place.run(&["CREATE TABLE schema_version (version BIGINT)"]);
        let before = file(&place);
        refusal(&place, Foreign::Unknown);
        assert_eq!(file(&place), before);
    }
    let place = TestPlace::sqlite();
    place.run(&["CREATE TABLE people (name TEXT)"]);
    refusal(&place, Foreign::Unknown);
    std::fs::write(path(&place), "server_name: example.org\n").unwrap();
    refusal(&place, Foreign::NotADatabase);
}

#[test]
fn other_tables_in_a_postgresql_schema_do_no_harm() {
    for place in blank_places() {
        if place.options().backend() == Backend::Postgres {
            place.run(&["CREATE TABLE spatial_ref_sys (srid BIGINT)"]);
            assert_eq!(migrate_database(place.options()).unwrap().last(), Some(&latest()));
        }
    }
}

fn path(place: &TestPlace) -> PathBuf {
    place.options().place().into()
}

/// What an SQLite file holds, and which files are beside it.
fn file(place: &TestPlace) -> Option<(Vec<u8>, Vec<PathBuf>)> {
    let path = (place.options().backend() == Backend::Sqlite).then(|| path(place))?;
    let beside = std::fs::read_dir(path.parent()?).unwrap().map(|entry| entry.unwrap().path()).collect();
    Some((std::fs::read(&path).unwrap(), beside))
}

/// Column types both databases mean the same by, and the type of PostgreSQL's table of searchable words.
const TYPES: [&str; 4] = ["BIGINT", "TEXT", "BYTEA", "TSVECTOR"];

#[test]
fn migrations_are_numbered_and_use_the_allowed_types() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut numbers = Vec::new();
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        numbers.push(file[..4].parse::<i64>().unwrap());
        let text: String = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default().to_owned() + "\n")
            .collect();
        for table in text.split("CREATE TABLE ").skip(1) {
            let (head, body) = table.split_once('(').unwrap();
            for column in columns(body) {
                let mut words = column.split_whitespace();
                let (Some(name), Some(ty)) = (words.next(), words.next()) else {
                    continue;
                };
                let constraint = ["PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT"].contains(&name);
                if !constraint && !TYPES.contains(&ty) {
                    problems.push(format!("{file}: {}.{name} is {ty}", head.trim()));
                }
            }
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers.iter().max().copied(), Some(latest()));
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "a number is used twice: {numbers:?}");
    assert!(problems.is_empty(), "types other than {TYPES:?}:\n{}", problems.join("\n"));
}

/// The column definitions of a CREATE TABLE, from after its opening parenthesis.
fn columns(body: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut depth = 1;
    for c in body.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match (c, depth) {
            (_, 0) => break,
            (',', 1) => columns.push(String::new()),
            _ => columns.last_mut().unwrap().push(c),
        }
    }
    columns
}
