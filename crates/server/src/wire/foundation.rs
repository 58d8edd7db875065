//! The foundation of every service: the configuration, the clock, the database.

use std::sync::Arc;

use plexus_base::config::{Config, DatabaseKind};
use plexus_base::{AppServices, Background, Clock, Random, Registrations, Shutdown};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_service::tasks::TaskScheduler;
use plexus_store::db::OptionsError;
use plexus_store::{Database, DbError, Options, repo};

use crate::start_error::StartError;

/// The parts from which the program is built.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct Parts {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub random: Random,
    /// The key with which events are signed.
    pub signing_key: SigningKey,
    pub shutdown: Shutdown,
}

/// The parts from which every service may be built.
pub(super) struct Foundation {
    pub(super) config: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) signing_key: Arc<SigningKey>,
    pub(super) shutdown: Shutdown,
    pub(super) server_name: ServerName,
    pub(super) database: Database,
    pub(super) background: Background,
    pub(super) tasks: Arc<TaskScheduler>,
    pub(super) app_services: Arc<AppServices>,
}

impl Foundation {
    pub(super) async fn open(parts: Parts) -> Result<Self, StartError> {
        let Parts { config, clock, random, signing_key, shutdown } = parts;
        let server_name = ServerName::try_from(config.server.server_name.as_str())?;
        let app_services = Arc::new(app_services(&config)?);
        let database = open_database(&config).await?;
        let tasks = match TaskScheduler::start(&database, clock.clone(), random.clone()).await {
            Ok(tasks) => tasks,
            Err(error) => {
                database.close().await;
                return Err(error.into());
            }
        };
        let (signing_key, background) = (Arc::new(signing_key), Background::default());
        Ok(Self {
            config,
            clock,
            random,
            signing_key,
            shutdown,
            server_name,
            database,
            background,
            tasks,
            app_services,
        })
    }
}

/// Reads the registration files of application services.
///
/// # Errors
/// When one has mistakes.
pub(super) fn app_services(config: &Config) -> Result<AppServices, StartError> {
    let registrations = Registrations::load(&config.api.app_service_config_files, &config.server.server_name);
    registrations.map(AppServices::new).map_err(StartError::AppServices)
}

/// Returns the database's options in the configuration; SQLite paths are relative to the current directory, as in
/// Synapse.
///
/// # Errors
/// When `database.args` holds something wrong.
pub fn database_options(config: &Config) -> Result<Options, OptionsError> {
    let Some(database) = &config.database.database else {
        let path = config.database.database_path.clone();
        return Ok(Options::sqlite(path.unwrap_or_else(|| "homeserver.db".into())));
    };
    let name = match database.name {
        DatabaseKind::Sqlite => "sqlite3",
        DatabaseKind::Postgres => "psycopg2",
    };
    let unsafe_locale = database.allow_unsafe_locale;
    Options::from_config(name, &database.args, unsafe_locale, std::path::Path::new(""))
}

pub(super) async fn open_database(config: &Config) -> Result<Database, StartError> {
    let options = database_options(config)?;
    let configured = config.server.server_name.clone();
    // Opening blocks: the schema may have to be migrated.
    let opened = tokio::task::spawn_blocking(move || Database::open(&options));
    let database = opened.await.map_err(std::io::Error::other)??;
    let name = configured.clone();
    let stored = database.write(move |tx| repo::server::claim(tx, &name)).await;
    match stored {
        Ok(stored) if stored == configured => Ok(database),
        Ok(stored) => {
            database.close().await;
            Err(StartError::ServerName { stored, configured })
        }
        Err(error) => {
            database.close().await;
            Err(DbError::into(error))
        }
    }
}
