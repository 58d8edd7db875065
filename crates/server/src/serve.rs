//! `plexus serve`: from the configuration to a running server, and to its end.

mod advice;
mod detach;
mod reload;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::config::{Config, Loaded, Options, ResourceName};
use plexus_base::{Clock, Random, telemetry};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::command::{CommandError, ServeArgs};
use crate::control_socket::ControlSocket;
use crate::listen::{ConnectionLimits, Inherited};
use crate::notify::Notifier;
use crate::open_files::{connection_limit, raise_file_limit};
use crate::pid_file::{self, PidFile};
use crate::running::Running;
use crate::signals::{Signal, Signals};
use crate::{data_dir, output, preflight};
pub(crate) use detach::{detach, log_path};
use reload::Started;

/// Runs the command.
///
/// # Errors
/// When the configuration is wrong or the server cannot start.
pub(crate) fn run(args: ServeArgs) -> Result<(), CommandError> {
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
        output::line(pid_file::path(&loaded.config).display())?;
    }
    if (args.daemonize || loaded.config.server.daemonize) && !args.detached {
        return detach(&args.config, &loaded.config, args.port, args.no_secrets_in_config);
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
    let pid_file = if args.detached { Some(PidFile::take(&pid_file::path(&config))?) } else { None };
    let limits = ConnectionLimits::of(connection_limit());
    let running = tokio::select! {
        running = Running::start_with(config.clone(), clock.clone(), Random::system(), limits, inherited) => running,
        // A migration that is under way is not committed, and is made at the next start.
        () = signals.stop() => return Ok(()),
    };
    let running = running.map_err(|error| advice::with_advice(&error, &config, &written, args.port))?;
    let stop = Arc::new(Notify::new());
    let commands = take_commands(&config, &running, &stop);
    let first_user = running.has_no_users().await?;
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
        reload::reload(&running, &telemetry, &started).await;
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
