//! Databases for tests: every store test runs on each of them.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::OnceLock;

use plexus_store::{Backend, Database, Options};
use serde_json::{Map, json};

use crate::postgres::{Cluster, USER, cluster};

/// Returns an empty database of each backend on this machine: SQLite always, PostgreSQL when it is installed.
///
/// ```ignore
/// for db in plexus_testkit::databases() {
///     db.write(|tx| repo::tags::set(tx, ..)).await?;
/// }
/// ```
pub fn databases() -> Vec<TestDatabase> {
    places().into_iter().map(TestPlace::open).collect()
}

/// Like [`databases`], but not opened: for tests that start a server on them.
pub fn places() -> Vec<TestPlace> {
    std::iter::once(TestPlace::sqlite()).chain(TestPlace::postgres()).collect()
}

/// Like [`places`], without Plexus's schema: for tests that store something else there.
pub fn blank_places() -> Vec<TestPlace> {
    std::iter::once(TestPlace::sqlite()).chain(TestPlace::blank_postgres()).collect()
}

/// The location of a test's own database, which is removed on drop.
pub struct TestPlace {
    options: Options,
    name: &'static str,
    args: Map<String, serde_json::Value>,
    remove: Remove,
}

enum Remove {
    Folder(PathBuf),
    Database(&'static Cluster, String),
}

/// An open database of a test, with its schema. Derefs to [`Database`].
pub struct TestDatabase {
    db: Option<Database>,
    place: TestPlace,
}

impl TestPlace {
    /// Returns an SQLite file in a new folder.
    pub fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(format!("plexus-db-{}", crate::unique_name()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let mut args = Map::new();
        args.insert("database".to_owned(), json!(folder.join("homeserver.db")));
        Self::new("sqlite3", args, Remove::Folder(folder))
    }

    /// Returns a database in the test process's PostgreSQL cluster, if there is one.
    pub fn postgres() -> Option<Self> {
        static TEMPLATE: OnceLock<()> = OnceLock::new();
        let cluster = cluster()?;
        TEMPLATE.get_or_init(|| {
            cluster.admin(&["CREATE DATABASE plexus_template"]).expect("a template can be made");
            let options = Options::from_config("psycopg2", &arguments(cluster, "plexus_template"), false, "".as_ref())
                .expect("the arguments are right");
            plexus_store::db::migrate_database(&options).expect("the migrations run");
        });
        Some(Self::made_from("plexus_template", cluster))
    }

    fn blank_postgres() -> Option<Self> {
        Some(Self::made_from("template0", cluster()?))
    }

    fn made_from(template: &str, cluster: &'static Cluster) -> Self {
        let database = format!("t_{}", crate::unique_name().replace('-', "_"));
        cluster.admin(&[&format!("CREATE DATABASE {database} TEMPLATE {template}")]).expect("a database can be made");
        Self::new("psycopg2", arguments(cluster, &database), Remove::Database(cluster, database))
    }

    fn new(name: &'static str, args: Map<String, serde_json::Value>, remove: Remove) -> Self {
        let options = Options::from_config(name, &args, false, "".as_ref()).expect("the arguments are right");
        Self { options, name, args, remove }
    }

    /// Returns the options with which the store opens it.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Returns `database.args` for it.
    pub fn args(&self) -> &Map<String, serde_json::Value> {
        &self.args
    }

    /// Returns the `database:` section of homeserver.yaml for it (JSON is YAML).
    pub fn homeserver_yaml(&self) -> String {
        format!("database: {}\n", json!({ "name": self.name, "args": self.args }))
    }

    /// Runs statements in it, bypassing the store.
    pub fn run(&self, statements: &[&str]) {
        match &self.remove {
            Remove::Folder(folder) => {
                let connection = rusqlite::Connection::open(folder.join("homeserver.db")).expect("the file opens");
                connection.execute_batch(&statements.join(";")).expect("the statements run");
            }
            Remove::Database(cluster, name) => cluster.run_in(name, statements).expect("the statements run"),
        }
    }

    /// Opens it.
    pub fn open(self) -> TestDatabase {
        let db = Database::open(&self.options).expect("the database opens");
        TestDatabase { db: Some(db), place: self }
    }
}

fn arguments(cluster: &Cluster, database: &str) -> Map<String, serde_json::Value> {
    let args = json!({ "host": cluster.host(), "user": USER, "dbname": database, "cp_max": 3 });
    args.as_object().cloned().unwrap_or_default()
}

impl TestDatabase {
    /// Returns a handle for the code under test.
    pub fn db(&self) -> Database {
        self.db.clone().expect("it is open until it is dropped")
    }

    /// Returns its backend, for messages.
    pub fn backend(&self) -> Backend {
        self.place.options.backend()
    }

    /// Returns its location.
    pub fn place(&self) -> &TestPlace {
        &self.place
    }

    /// Closes and reopens it, like a restart. Old handles return errors.
    pub async fn reopen(&mut self) {
        self.db().close().await;
        self.db = None;
        self.db = Some(Database::open(&self.place.options).expect("the database opens again"));
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.db.as_ref().expect("it is open until it is dropped")
    }
}

impl Drop for TestPlace {
    fn drop(&mut self) {
        match &self.remove {
            // Remaining files are in the temporary folder and the cluster, which are removed anyway.
            Remove::Folder(folder) => drop(std::fs::remove_dir_all(folder)),
            Remove::Database(cluster, name) => {
                drop(cluster.admin(&[&format!("DROP DATABASE {name} WITH (FORCE)")]));
            }
        }
    }
}
