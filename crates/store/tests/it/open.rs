//! Databases that cannot be used are refused with a sentence that names them.

use plexus_store::{Database, Options};
use plexus_testkit::TestPlace;
use plexus_testkit::postgres::cluster;
use serde_json::{Map, Value, json};

fn refusal(options: &Options) -> String {
    Database::open(options).err().expect("it is refused").to_string()
}

fn postgres(args: &Map<String, Value>, allow_unsafe_locale: bool) -> Options {
    Options::from_config("psycopg2", args, allow_unsafe_locale, "".as_ref()).unwrap()
}

#[test]
fn an_sqlite_file_that_is_none_or_cannot_be_made() {
    let place = TestPlace::sqlite();
    let Options::Sqlite(options) = place.options() else {
        return;
    };
    let missing = Options::sqlite(options.path.parent().unwrap().join("nowhere/homeserver.db"));
    assert!(refusal(&missing).contains("nowhere/homeserver.db.lock: No such file"));
    std::fs::write(&options.path, "this is no database, whatever its name says".repeat(100)).unwrap();
    let said = refusal(place.options());
    assert!(said.contains("homeserver.db is not an SQLite database") && said.contains("restore a backup"), "{said}");
}

#[test]
fn a_postgresql_that_does_not_answer_or_sorts_otherwise() {
    let Some(cluster) = cluster() else { return };
    let place = TestPlace::postgres().expect("there is a cluster");
    let mut args = place.args().clone();
    args.insert("dbname".to_owned(), json!("nosuch"));
    let said = refusal(&postgres(&args, false));
    assert!(said.contains("PostgreSQL database \"nosuch\" at /"), "{said}");
    assert!(said.contains("does not exist"), "{said}");

    cluster
        .admin(&["CREATE DATABASE sorted TEMPLATE template0 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"])
        .expect("the locale C.UTF-8 is always there");
    args.insert("dbname".to_owned(), json!("sorted"));
    let said = refusal(&postgres(&args, false));
    assert!(said.contains("cannot be used: its locale is C.UTF-8"), "{said}");
    Database::open(&postgres(&args, true)).expect("the operator allows it").close_blocking();

    args.insert("host".to_owned(), json!("127.0.0.1"));
    args.insert("port".to_owned(), json!(1));
    let said = refusal(&postgres(&args, false));
    assert!(said.contains("at 127.0.0.1:1") && said.contains("refused"), "{said}");
}
