//! A running server, from its configuration to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::config::Config;
use plexus_base::{Clock, Random, Shutdown};
use plexus_http::Probes;
use plexus_store::DbError;

use crate::key_file;
use crate::listen::{self, Bound, ConnectionLimits, Inherited, Serving};
use crate::open_files::connection_limit;
use crate::start_error::StartError;
use crate::tls::{self, Certificates};
use crate::users::UserAdmin;
use crate::wire::{self, Application, Parts};

/// How long requests in progress may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Running {
    /// Where it listens, in words.
    pub places: Vec<String>,
    /// The TCP addresses it listens on.
    pub addresses: Vec<SocketAddr>,
    certificates: Option<Arc<Certificates>>,
    shutdown: Shutdown,
    serving: Serving,
    probes: Arc<Probes>,
    application: Application,
}

impl Running {
    /// Starts a server: binds its addresses, opens its database, serves.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left behind then.
    pub async fn start(config: Config, clock: Clock, random: Random) -> Result<Self, StartError> {
        Self::start_with(config, clock, random, ConnectionLimits::of(connection_limit()), Inherited::default()).await
    }

    /// As [`Running::start`], with these limits for connections instead of those from the system's limit of open files,
    /// and on `inherited` sockets.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left behind then.
    pub async fn start_with(
        config: Config,
        clock: Clock,
        random: Random,
        limits: ConnectionLimits,
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let signing_key = key_file::of(&config)?;
        let bound = listen::bind(&config.server.listeners, config.metrics.enable_metrics, inherited)?;
        if !bound.iter().any(Bound::is_for_clients) {
            return Err(StartError::NoListener);
        }
        let certificates = certificates(&config, &bound)?;
        let tls = certificates.as_ref().map(Certificates::server_config).transpose()?;
        let shutdown = Shutdown::default();
        let parts = Parts { config, clock: clock.clone(), random, signing_key, shutdown: shutdown.clone() };
        let application = wire::build(parts).await?;
        let places = bound.iter().map(Bound::describe).collect();
        let addresses = bound.iter().filter_map(Bound::address).collect();
        let routers = &application.routers;
        let probes = Arc::new(Probes::new(clock.clone()));
        let serving = Serving::start(bound, routers, &clock, &probes, tls.as_ref(), &shutdown, limits);
        Ok(Self { places, addresses, certificates, shutdown, serving, probes, application })
    }

    /// Returns how many bytes are in memory of request bodies whose sender is not known.
    pub fn unverified_body_bytes(&self) -> usize {
        self.application.bodies.unverified_bytes()
    }

    /// Reloads the TLS certificates.
    pub fn reload(&self) {
        if let Some(certificates) = &self.certificates {
            match certificates.reload() {
                Ok(()) => tracing::info!("SIGHUP: reread the TLS certificate {}", certificates.path().display()),
                Err(error) => tracing::error!("SIGHUP: the TLS certificate in use stays: {error}"),
            }
        }
    }

    /// Rereads the registration files of application services.
    pub async fn reload_app_services(&self, files: &[PathBuf]) {
        match self.application.replace_app_services(files).await {
            Ok(()) if files.is_empty() => {}
            Ok(()) => tracing::info!("SIGHUP: reread the registrations of {} application services", files.len()),
            Err(error) => tracing::error!("SIGHUP: {error}"),
        }
    }

    /// Returns the service with which operators change accounts.
    pub fn users(&self) -> Arc<UserAdmin> {
        Arc::clone(&self.application.users)
    }

    /// Returns the requests of `plexus doctor` for which the server waits.
    pub fn probes(&self) -> Arc<Probes> {
        Arc::clone(&self.probes)
    }

    /// Whether nobody has an account yet.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn has_no_users(&self) -> Result<bool, DbError> {
        self.application.is_empty().await
    }

    /// Finishes the requests in progress, for a while, and closes the database.
    pub async fn stop(self) {
        self.shutdown.begin();
        if !self.serving.finished(GRACE).await {
            tracing::warn!("some requests did not finish within {} s", GRACE.as_secs());
        }
        self.application.close().await;
    }
}

fn certificates(config: &Config, bound: &[Bound]) -> Result<Option<Arc<Certificates>>, StartError> {
    if !bound.iter().any(|listener| listener.tls) {
        return Ok(None);
    }
    Ok(Some(Certificates::open(&tls::Files::of(config)?, &config.server.server_name)?))
}
