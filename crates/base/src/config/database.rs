use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::schema::{MapReader, choice, options};

options! {
    /// The database, which stores everything except media.
    pub struct DatabaseSection checked by check_database {
        /// The database. Without it, SQLite in the file `homeserver.db`.
        acts database: Option<Database>,
        /// Databases by arbitrary names, as an alternative to `database`. All data must be in one of them.
        acts databases: BTreeMap<String, PartialDatabase>,
        /// The file of an SQLite database: the old form of `database.args.database`; ignored beside `database`.
        acts database_path: Option<PathBuf>,
    }
}

impl DatabaseSection {
    /// Returns the option that configures the database; with `member`, the one that sets this member of `args`.
    pub fn option(&self, member: Option<&str>) -> String {
        let args = match (self.databases.keys().next(), &self.database, &self.database_path) {
            (Some(name), _, _) => format!("databases.{name}.args"),
            (None, None, Some(_)) => return "database_path".to_owned(),
            _ => "database.args".to_owned(),
        };
        member.map_or_else(|| args.clone(), |member| format!("{args}.{member}"))
    }
}

fn check_database(mut section: DatabaseSection, map: &mut MapReader<'_, '_>) -> DatabaseSection {
    if section.database.is_some() && section.database_path.is_some() {
        map.warn("database_path", "ignored, because database is set");
    }
    if section.database.is_some() && !section.databases.is_empty() {
        map.error("databases", "set together with database; allowed is one of the two");
    }
    if section.database_path.is_some() && !section.databases.is_empty() {
        map.error("database_path", "set together with databases; allowed is one of the two");
    }
    if !section.databases.is_empty() {
        match with_all_data(&section.databases) {
            Ok(database) => section.database = Some(database),
            Err(message) => map.error("databases", message),
        }
    }
    section
}

/// Returns the database that has all data stores.
fn with_all_data(databases: &BTreeMap<String, PartialDatabase>) -> Result<Database, String> {
    let with = |store: DataStore| {
        let mut having = databases.iter().filter(|(_, database)| database.data_stores.contains(&store));
        let store = store.as_str();
        let found = having.next().ok_or_else(|| format!("no database has the data store {store}; allowed is one"))?;
        match having.next() {
            Some((second, _)) => {
                Err(format!("{} and {second} both have the data store {store}; allowed is one", found.0))
            }
            None => Ok(found),
        }
    };
    let (main, state) = (with(DataStore::Main)?, with(DataStore::State)?);
    let (database, other) = (main.1.database(), state.1.database());
    if database.name != other.name || database.args != other.args {
        return Err(format!(
            "room state is in {} and everything else in {}, which is not supported: all data must be in one database; \
             move the tables of state into {}, give it both data stores, and remove {}",
            state.0, main.0, main.0, state.0
        ));
    }
    Ok(database)
}

options! {
    /// A database.
    pub struct Database checked by check_args {
        /// The kind of database.
        acts name: DatabaseKind = DatabaseKind::Sqlite,
        /// After how many transactions a connection is replaced; 0 for never.
        later txn_limit: u32 = 0,
        /// Whether a PostgreSQL database may have a locale other than C.
        acts allow_unsafe_locale: bool = false,
        /// How to connect. SQLite: `database`, the file. PostgreSQL: `user`, `password`, `dbname`, `host`, `port` and
        /// the other parameters of libpq; `cp_min` and `cp_max` bound the number of connections.
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
    pub struct PartialDatabase checked by check_partial_args {
        /// The kind of database.
        acts name: DatabaseKind = DatabaseKind::Sqlite,
        /// After how many transactions a connection is replaced; 0 for never.
        later txn_limit: u32 = 0,
        /// Whether a PostgreSQL database may have a locale other than C.
        acts allow_unsafe_locale: bool = false,
        /// How to connect, as in `database`.
        acts args: Map<String, Value>,
        /// The data stores in this database.
        acts data_stores: Vec<DataStore> = vec![DataStore::Main, DataStore::State],
    }
}

impl PartialDatabase {
    fn database(&self) -> Database {
        let Self { name, txn_limit, allow_unsafe_locale, args, .. } = self.clone();
        Database { name, txn_limit, allow_unsafe_locale, args }
    }
}

choice! {
    /// A part of the data.
    pub enum DataStore {
        /// Everything except room state.
        Main = "main",
        /// Room state.
        State = "state",
    }
}

fn check_args(database: Database, map: &mut MapReader<'_, '_>) -> Database {
    require_file(database.name, &database.args, map);
    database
}

fn check_partial_args(database: PartialDatabase, map: &mut MapReader<'_, '_>) -> PartialDatabase {
    require_file(database.name, &database.args, map);
    database
}

fn require_file(kind: DatabaseKind, args: &Map<String, Value>, map: &mut MapReader<'_, '_>) {
    let file = args.get("database");
    // Several connections share the file, which an in-memory database cannot support.
    let is_file = file.and_then(Value::as_str).is_some_and(|file| !file.is_empty() && file != ":memory:");
    if kind == DatabaseKind::Sqlite && !is_file {
        let found = file.map_or_else(|| "missing".to_owned(), Value::to_string);
        map.error("args", format!("the member database is {found}; allowed is the path of the SQLite file"));
    }
}
