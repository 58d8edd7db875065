//! `plexus serve`: from the configuration to a running server, and to its end.

mod advice;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::config::{Config, Loaded, Options, ResourceName};
use plexus_base::telemetry;
use plexus_base::{Clock, Random, Shutdown};
use plexus_http::Probes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::cli::{CommandError, ServeArgs, control};
use crate::control_socket::ControlSocket;
use crate::listen::{self, Bound, ConnectionLimits, Inherited, Serving};
use crate::notify::Notifier;
use crate::output;
use crate::pid_file::PidFile;
use crate::preflight;
use crate::tls::{self, Certificates, TlsError};
use crate::users::UserAdmin;
use crate::wire::{self, Application, Parts};
use crate::{data_dir, key_file};
use reload::Started;

/// How long requests in progress may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(20);
/// File descriptors kept for everything but client connections: database, media, logs.
const RESERVED_FILES: u64 = 256;

/// Why the server did not start. Each text is one sentence that names the cause.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] listen::BindError),
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] key_file::KeyError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    TlsSetup(#[from] rustls::Error),
    /// The section `database` has mistakes.
    #[error(transparent)]
    DatabaseOptions(#[from] plexus_store::db::OptionsError),
    /// The database cannot be opened.
    #[error("the database cannot be opened: {0}")]
    Database(#[from] plexus_store::OpenError),
    /// The database failed after it was opened.
    #[error(transparent)]
    Db(#[from] plexus_store::DbError),
    /// The database belongs to another server.
    #[error("the database belongs to {stored}, but server_name is {configured}: a server's name cannot be changed")]
    ServerName {
        /// The name in the database.
        stored: String,
        /// The name in the configuration.
        configured: String,
    },
    /// The server's name is not valid.
    #[error("server_name is not valid: {0}")]
    Name(#[from] plexus_protocol::id::IdError),
    /// The certificate authorities for other servers cannot be read.
    #[error(transparent)]
    CertificateAuthorities(#[from] plexus_net::TlsSetupError),
    /// A trusted key server is not described correctly.
    #[error("trusted_key_servers: {server}: {problem}")]
    KeyServer {
        /// Its name.
        server: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An old signing key is not valid.
    #[error("old_signing_keys: {key_id} cannot be used: {source}")]
    OldKey {
        /// Its id.
        key_id: String,
        /// What is wrong with it.
        source: plexus_protocol::event::sign::InvalidPublicKey,
    },
    /// The media store cannot be opened.
    #[error("the media store cannot be opened: {0}")]
    Media(#[from] plexus_media::MediaError),
    /// There is no listener of type http.
    #[error("there is no listener of type http, so nobody could reach the server")]
    NoListener,
    /// A folder cannot be made or written to.
    #[error("cannot write to the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Signals cannot be handled, or threads not started.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

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

    /// Returns the service with which operators change accounts.
    pub fn users(&self) -> Arc<UserAdmin> {
        Arc::clone(&self.application.users)
    }

    /// Returns the requests of `plexus doctor` for which the server waits.
    pub fn probes(&self) -> Arc<Probes> {
        Arc::clone(&self.probes)
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

/// Returns how many client connections the process can hold under its limit of open files.
fn connection_limit() -> u32 {
    let files = open_files();
    // A connection to another server may take two while it is opened.
    let reserved = RESERVED_FILES + 2 * federation_share(files);
    let connections = files.saturating_sub(reserved).max(files / 2).max(1);
    u32::try_from(connections).unwrap_or(u32::MAX).min(1 << 20)
}

/// Returns how many connections to other servers may be open.
pub(crate) fn federation_connections() -> usize {
    usize::try_from(federation_share(open_files())).unwrap_or(usize::MAX)
}

fn federation_share(files: u64) -> u64 {
    (files / 8).clamp(16, 1024)
}

fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX))
}

/// Raises the limit of open files as far as the system allows, or to `soft_file_limit` if that is set.
pub(crate) fn raise_file_limit(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let current = if wanted == 0 { limit.maximum } else { Some(wanted) };
    let raised = Rlimit { current, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Runs the command.
///
/// # Errors
/// When the configuration is wrong or the server cannot start.
pub fn run(args: ServeArgs) -> Result<(), CommandError> {
    let clock = Clock::system();
    if args.detached {
        // Fails only for the leader of a process group, which then has no terminal to leave anyway.
        let _ = rustix::process::setsid();
    }
    if args.generate_config {
        print_written(&data_dir::generate(&args)?)?;
        return Ok(());
    }
    data_dir::create_if_new(&args)?;
    if args.generate_missing_configs || args.generate_missing_and_run {
        let mut loaded = data_dir::load_with(&args.config, args.no_secrets_in_config)?;
        print_written(&data_dir::create_missing(&mut loaded.config)?)?;
        if args.generate_missing_configs {
            return Ok(());
        }
    }
    let mut loaded = data_dir::examine(&args.config, args.no_secrets_in_config)?;
    refuse_other_name(&args, &loaded)?;
    if let Some(port) = args.port {
        set_port(&mut loaded, port)?;
    }
    if args.print_pidfile || loaded.config.server.print_pidfile {
        output::line(control::pid_path(&loaded.config).display())?;
    }
    if (args.daemonize || loaded.config.server.daemonize) && !args.detached {
        return control::detach(&args.config, &loaded.config, args.port, args.no_secrets_in_config);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(&args, loaded, clock));
    // A blocking task (a password hash) may still run; nobody waits for it any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn print_written(files: &[PathBuf]) -> io::Result<()> {
    if files.is_empty() {
        output::line("nothing is missing")?;
    }
    files.iter().try_for_each(|file| output::line(format_args!("wrote {}", file.display())))
}

/// Refuses a `--server-name` that is not the configuration's: it names the server for which a configuration is created.
/// An existing one keeps its name.
fn refuse_other_name(args: &ServeArgs, loaded: &Loaded) -> Result<(), CommandError> {
    let configured = &loaded.config.server.server_name;
    match &args.server_name {
        Some(asked) if asked != configured => {
            let message = format!(
                "{configured}, but --server-name is {asked}: a server's name cannot be changed; leave \
                 --server-name out, or name another folder with --data-dir"
            );
            Err(loaded.written.problem("server_name", message).to_string().into())
        }
        _ => Ok(()),
    }
}

/// Changes the port of the first listener for clients (`--port`).
fn set_port(loaded: &mut Loaded, port: u16) -> Result<(), CommandError> {
    let mut listeners = loaded.config.server.listeners.iter_mut().filter(|listener| listener.port.is_some());
    let listener = listeners.find(|listener| listener.serves(ResourceName::Client)).ok_or(NoPort)?;
    listener.port = Some(port);
    // The listeners had no problems before.
    match preflight::listener_problems(loaded).first() {
        Some(problem) => Err(format!("--port {port} cannot be used: {problem}").into()),
        None => Ok(()),
    }
}

/// There is no listener whose port `--port` could change.
#[derive(Debug, thiserror::Error)]
#[error("--port: no listener in the configuration serves clients on a port; add one to `listeners`")]
struct NoPort;

/// Runs the server. `clock` was created at the start of the program.
async fn serve(args: &ServeArgs, loaded: Loaded, clock: Clock) -> Result<(), CommandError> {
    let Loaded { mut config, report, written } = loaded;
    let log_config = config.logging.log_config.clone();
    let (telemetry, no_effect) = telemetry::start(log_config.as_deref(), &clock)?;
    log_panics();
    for line in report.to_string().lines() {
        tracing::warn!("configuration: {line}");
    }
    for line in no_effect {
        tracing::warn!("log configuration: not in effect: {line}");
    }
    if let Some(path) = config.generate_missing_secrets(&Random::system())? {
        tracing::info!("made a registration secret in {}", path.display());
    }
    // Before the listeners, so that a SIGTERM from here on stops the server in order.
    let mut signals = Signals::new()?;
    let notifier = Notifier::from_env();
    raise_file_limit(u64::from(config.server.soft_file_limit));
    let inherited = Inherited::from_env()?;
    let pid_file = if args.detached { Some(PidFile::take(&control::pid_path(&config))?) } else { None };
    let limits = ConnectionLimits::of(connection_limit());
    let running = tokio::select! {
        running = Running::start_with(config.clone(), clock.clone(), Random::system(), limits, inherited) => running,
        // A migration that is under way is not committed, and is made at the next start.
        () = signals.stop() => return Ok(()),
    };
    let running = running.map_err(|error| advice::with_advice(&error, &config, &written, args.port))?;
    let stop = Arc::new(Notify::new());
    let commands = take_commands(&config, &running, &stop);
    let first_user = running.application.is_empty().await?;
    if let Err(error) = print_banner(args, &config, &running, first_user, clock.monotonic()) {
        tracing::warn!("cannot print where the server listens: {error}");
    }
    notifier.ready();
    // `plexus start` waits for that alone, and its socket is gone afterwards.
    let notifier = if args.detached { Notifier::silent() } else { notifier };
    let options = Options { forbid_secrets: args.no_secrets_in_config };
    let started = Started { paths: data_dir::paths(&args.config), options, written, log_config };
    while let Signal::Reload = signals.next_or(&stop).await {
        notifier.reloading();
        reload::reload(&running, &telemetry, &started);
        notifier.ready();
    }
    tracing::info!("stopping");
    notifier.stopping();
    tokio::select! {
        () = running.stop() => {}
        () = signals.stop() => tracing::warn!("stopped at once by a second signal; what is under way is left"),
    }
    drop(pid_file);
    // Last, because `plexus stop` takes the end of its connection for the end of the server.
    if let Some(commands) = commands {
        commands.abort();
        // It was aborted.
        let _ = commands.await;
    }
    Ok(())
}

/// Begins to listen for commands on this machine. Clients do not need that, so if it fails the server runs without it.
fn take_commands(config: &Config, running: &Running, stop: &Arc<Notify>) -> Option<JoinHandle<()>> {
    match ControlSocket::bind(&config.media.media_store_path) {
        Ok(socket) => Some(tokio::spawn(socket.serve(running.users(), running.probes(), Arc::clone(stop)))),
        Err(error) => {
            tracing::error!("`plexus user`, `stop` and `status` will not reach this server: {error}");
            None
        }
    }
}

/// Logs panics like everything else. The request or task that panicked fails by other means.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("a bug: {panic}")));
}

/// Prints the few lines that an operator reads at start.
fn print_banner(
    args: &ServeArgs,
    config: &Config,
    running: &Running,
    first_user: bool,
    took: Duration,
) -> io::Result<()> {
    let (name, version) = (&config.server.server_name, env!("CARGO_PKG_VERSION"));
    let (places, seconds) = (running.places.join(", "), took.as_secs_f64());
    tracing::info!("Plexus {version} started in {seconds:.3} s and serves {name} at {places}");
    output::line(format_args!("Plexus {version} serves {name} at {places} (started in {seconds:.3} s)"))?;
    let files = match args.config.config_path.as_slice() {
        [] => args.config.data_dir().display().to_string(),
        paths => paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    output::line(format_args!("Its files are in {files}"))?;
    if first_user {
        output::line(format_args!("Make the first user with: {}", register_command(args, running)))?;
    }
    Ok(())
}

fn register_command(args: &ServeArgs, running: &Running) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "plexus".to_owned());
    let mut command = format!("{program} register --admin");
    for path in &args.config.config_path {
        command.push_str(&format!(" -c {}", path.display()));
    }
    if let (true, Some(data_dir)) = (args.config.config_path.is_empty(), &args.config.data_dir) {
        command.push_str(&format!(" --data-dir {}", data_dir.display()));
    }
    if let Some(place) = running.places.iter().find(|place| place.starts_with("http")) {
        // A listener on all addresses is reached on this machine's own.
        let url = place.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
        command.push_str(&format!(" {url}"));
    }
    command
}

enum Signal {
    Stop,
    Reload,
}

/// The signals that end a server or have it reload.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    /// Handles them from now on.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that stops the server.
    pub(crate) async fn stop(&mut self) {
        while let Signal::Reload = self.next().await {}
    }

    /// As [`Signals::next`]; [`Signal::Stop`] when `stop` is notified.
    async fn next_or(&mut self, stop: &Notify) -> Signal {
        tokio::select! {
            signal = self.next() => signal,
            () = stop.notified() => Signal::Stop,
        }
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}
