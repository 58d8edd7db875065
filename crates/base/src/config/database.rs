use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::schema::{MapReader, choice, options};

options! {
    /// Where everything but media is kept.
    pub struct DatabaseSection checked by check_database {
        /// The database. Without it, SQLite in the file `homeserver.db`.
        acts database: Option<Database>,
        /// Several databases, as an alternative to `database`.
        later databases: BTreeMap<String, PartialDatabase>,
        /// The file of an SQLite database: the old form of `database.args.database`.
        acts database_path: Option<PathBuf>,
    }
}

fn check_database(section: DatabaseSection, map: &mut MapReader<'_, '_>) -> DatabaseSection {
    if section.database.is_some() && !section.databases.is_empty() {
        map.error("databases", "set together with database; allowed is one of the two");
    }
    if section.database_path.is_some() && !section.databases.is_empty() {
        map.error("database_path", "set together with databases; allowed is one of the two");
    }
    section
}

options! {
    /// A database.
    pub struct Database checked by check_args {
        /// The kind of database.
        acts name: DatabaseKind = DatabaseKind::Sqlite,
        /// After how many transactions a connection is replaced; 0 for never.
        later txn_limit: u32 = 0,
        /// Whether a PostgreSQL database may have another locale than C.
        acts allow_unsafe_locale: bool = false,
        /// How to connect. SQLite: `database`, the file. PostgreSQL: `user`, `password`, `dbname`, `host`, `port`
        /// and the rest of libpq's words; `cp_min` and `cp_max` bound the number of connections.
        acts args: Map<String, Value>,
    }
}

choice! {
    /// A kind of database.
    pub enum DatabaseKind {
        /// SQLite, built in.
        Sqlite = "sqlite3",
        /// PostgreSQL.
        Postgres = "psycopg2",
    }
}

options! {
    /// One of several databases.
    pub struct PartialDatabase {
        /// The kind of database.
        later name: DatabaseKind = DatabaseKind::Sqlite,
        /// After how many transactions a connection is replaced; 0 for never.
        later txn_limit: u32 = 0,
        /// Whether a PostgreSQL database may have another locale than C.
        later allow_unsafe_locale: bool = false,
        /// How to connect.
        later args: Map<String, Value>,
        /// What is kept here.
        later data_stores: Vec<DataStore> = vec![DataStore::Main, DataStore::State],
    }
}

choice! {
    /// A part of the data.
    pub enum DataStore {
        /// Everything but room state.
        Main = "main",
        /// Room state.
        State = "state",
    }
}

fn check_args(database: Database, map: &mut MapReader<'_, '_>) -> Database {
    let file = database.args.get("database");
    // Several connections share the file, which a database in memory cannot offer.
    let is_file = file.and_then(Value::as_str).is_some_and(|file| file != ":memory:");
    if database.name == DatabaseKind::Sqlite && map.sets("name") && !is_file {
        let found = file.map_or_else(|| "missing".to_owned(), Value::to_string);
        map.error("args", format!("the member database is {found}; allowed is the path of the SQLite file"));
    }
    database
}
