//! Builds the program: the only place that knows every part of it. `engine` builds the services, in order; `apis`
//! passes each API its share of them.

mod apis;
mod engine;
mod federation;
mod followers;
mod foundation;
pub(crate) mod mail;
mod media;
mod rooms;
mod search;
pub(crate) mod settings;
mod tasks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plexus_accounts::{Accounts, AccountsParts};
use plexus_base::background::AbortOnDrop;
use plexus_base::config::Config;
use plexus_base::{Clock, Random, Registrations};
use plexus_http::BodyReader;
use plexus_protocol::id::ServerName;
use plexus_store::{Database, DbError, maintenance, repo};

use crate::listen::Routers;
use crate::metrics;
use crate::start_error::StartError;
use crate::users::{Closing, UserAdmin};
use engine::Engine;
use foundation::open_database;
pub use foundation::{Parts, database_options};

/// How long a server that stops waits for background work that has begun.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// The program, built: routers and the services behind them.
pub struct Application {
    /// Every route, without what each listener adds, and the metrics.
    pub routers: Routers,
    /// Reads the bodies of requests.
    pub bodies: Arc<BodyReader>,
    /// The service with which operators change accounts.
    pub users: Arc<UserAdmin>,
    engine: Engine,
    _background: AbortOnDrop,
}

impl Application {
    /// Whether nobody has registered yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_empty(&self) -> Result<bool, DbError> {
        self.engine.foundation.database.read(|tx| Ok(repo::users::count_active(tx)? == 0)).await
    }

    /// Replaces the application services by those of other registration files.
    ///
    /// # Errors
    /// When one of the files has mistakes, and nothing is replaced; when the user of a service cannot be registered.
    pub async fn replace_app_services(&self, files: &[PathBuf]) -> Result<(), StartError> {
        let Engine { foundation, accounts, delivery, .. } = &self.engine;
        let registrations = Registrations::load(files, foundation.server_name.as_str());
        let registrations = registrations.map_err(StartError::AppServices)?;
        let ids = registrations.all().iter().map(|service| service.id.clone()).collect();
        delivery.app_service_out.prepare_for(ids).await?;
        foundation.app_services.replace(registrations);
        Ok(accounts.registrar.register_senders().await?)
    }

    /// Ends the background work, writes data that is only in memory, and closes the database.
    pub async fn close(self) {
        let Engine { foundation, accounts, delivery, media, .. } = &self.engine;
        delivery.stop().await;
        foundation.background.shutdown(BACKGROUND_TIMEOUT).await;
        if let Err(error) = accounts.tokens.flush_last_seen().await {
            tracing::warn!("could not record when devices were last seen: {error}");
        }
        if let Err(error) = media.store.flush_last_access().await {
            tracing::warn!("could not record when media was last requested: {error}");
        }
        delivery.close().await;
        foundation.database.close().await;
    }
}

/// Opens the database, builds every service on it, and starts the background work.
///
/// # Errors
/// When the database cannot be opened or belongs to another server.
pub async fn build(parts: Parts) -> Result<Application, StartError> {
    let engine = Engine::start(parts).await?;
    let background = engine.foundation.background.abort_on_drop();
    let bodies = BodyReader::new(engine.foundation.clock.clone());
    let routers = routers(&engine, &bodies);
    let administration = engine.accounts.administration.clone();
    let closing = Closing::Running(engine.shared.deactivation.clone());
    let users = Arc::new(UserAdmin::new(administration, closing));
    Ok(Application { routers, bodies, users, engine, _background: background })
}

fn routers(engine: &Engine, bodies: &Arc<BodyReader>) -> Routers {
    let (rooms, previews) = (&engine.rooms.rooms, &engine.media.previews);
    let client = plexus_api_client::Services::from(engine);
    let admin = plexus_api_admin::Services::from(engine);
    let federation = plexus_api_federation::Services::from(engine);
    let enable_metrics = engine.foundation.config.metrics.enable_metrics;
    let verifies_certificates = !engine.foundation.config.server.use_insecure_ssl_client_just_for_testing_do_not_use;
    let measured = metrics::Measured {
        rooms: Arc::clone(rooms),
        previews: Arc::clone(previews),
        pushes: engine.delivery.push_out.as_ref().map(|push_out| push_out.counts()),
        verifies_certificates,
    };
    let metrics = enable_metrics.then(|| metrics::router(&measured));
    let all = plexus_api_client::routes()
        .build(client.into(), bodies)
        .merge(plexus_api_admin::routes().build(admin.into(), bodies))
        .merge(plexus_api_federation::router(federation.into(), bodies))
        .merge(metrics.unwrap_or_default());
    Routers { all, metrics: metrics::everywhere(&measured) }
}

/// Returns the accounts of a server that does not run, and their database, which the caller closes. The database is
/// neither created nor migrated: the server does that at its start.
///
/// # Errors
/// When there is no database of this version, or a server is using it.
pub async fn stopped_users(config: &Config) -> Result<(Database, UserAdmin), StartError> {
    let options = database_options(config)?;
    let checked = tokio::task::spawn_blocking(move || maintenance::require_current(&options)).await;
    checked.map_err(std::io::Error::other)??;
    let database = open_database(config).await?;
    let accounts = Accounts::new(AccountsParts {
        db: database.clone(),
        clock: Clock::system(),
        random: Random::system(),
        settings: settings::accounts(config, ServerName::try_from(config.server.server_name.as_str())?)?,
        app_services: Arc::new(foundation::app_services(config)?),
    });
    Ok((database, UserAdmin::new(accounts.administration, Closing::Stopped(accounts.deactivation))))
}
