//! `plexus start|stop|restart|status`, as synctl has them. The commands find the server by its control socket, or by
//! the pid file that a server in the background has. `stop` and `status` need nothing else of the configuration, so
//! they work whatever mistakes are in it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use plexus_base::config::{MediaSection, Written};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::command::{CommandError, ConfigArgs, ServeArgs};
use crate::control_socket::ControlClient;
use crate::output;
use crate::preflight::file_problem;
use crate::{data_dir, pid_file, serve};

/// How long a stop may take: the server's own grace period and a margin.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two checks.
const POLL: Duration = Duration::from_millis(50);
/// The exit code of `status` when no server runs (LSB init scripts).
const NOT_RUNNING: u8 = 3;

/// Arguments of `plexus start` and its siblings.
#[derive(Debug, Args)]
pub(super) struct ControlArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Configuration file, as synctl takes it
    #[arg(value_name = "CONFIG")]
    file: Option<PathBuf>,
    /// Stay in the foreground
    #[arg(long)]
    no_daemonize: bool,
}

impl ControlArgs {
    fn config(&self) -> ConfigArgs {
        let mut config = self.config.clone();
        config.config_path.extend(self.file.clone());
        config
    }
}

/// Why the server could not be controlled.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("already running, as process {0}; `plexus restart` restarts the server")]
    Running(u32),
    #[error("cannot read the pid file {0}: {1}")]
    PidFile(PathBuf, std::io::Error),
    #[error("the server, process {process}, has not ended within {seconds} s; `kill -KILL {process}` ends it")]
    Stubborn { process: u32, seconds: u64 },
    #[error("cannot send a signal to the server, process {0}: {1}")]
    Kill(u32, rustix::io::Errno),
    #[error("the server was not stopped, because it could not start again: {0}")]
    WouldNotStart(data_dir::LoadError),
    #[error(
        "the server was not stopped, because it could not start again: {0}. If a service manager started the server, \
         restart it there (`systemctl restart`)"
    )]
    Unwritable(String),
    #[error(
        "the server was not stopped, because it would start again as another user: it runs as {0}: use systemctl, or \
         sudo -u '{0}'"
    )]
    OtherUser(String),
}

/// A server that runs.
enum Found {
    Listening(ControlClient),
    /// Found by its pid file alone: the server could not create its control socket, or is still starting.
    Noted {
        process: u32,
        pid_file: PathBuf,
    },
}

impl Found {
    fn process(&self) -> u32 {
        match self {
            Self::Listening(client) => client.process,
            Self::Noted { process, .. } => *process,
        }
    }

    /// Returns the number of the user that runs it.
    fn user(&self) -> Option<u32> {
        match self {
            Self::Listening(client) => Some(client.user),
            Self::Noted { process, .. } => Some(fs::metadata(format!("/proc/{process}")).ok()?.uid()),
        }
    }

    /// Stops the server. Returns false if it has not ended within [`STOP_TIMEOUT`].
    fn stop(&mut self) -> Result<bool, CommandError> {
        match self {
            Self::Listening(client) => Ok(client.stop(STOP_TIMEOUT)?),
            Self::Noted { process, pid_file } => terminate(*process, pid_file),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for")]
fn terminate(number: u32, pid_file: &Path) -> Result<bool, CommandError> {
    if let Some(process) = i32::try_from(number).ok().and_then(Pid::from_raw) {
        kill_process(process, Signal::TERM).map_err(|error| ControlError::Kill(number, error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let gone = async {
        while running(pid_file)? == Some(number) {
            tokio::time::sleep(POLL).await;
        }
        Ok::<_, ControlError>(true)
    };
    Ok(runtime.block_on(async { tokio::time::timeout(STOP_TIMEOUT, gone).await.unwrap_or(Ok(false)) })?)
}

/// Finds the server of a configuration, if it runs. The configuration may have mistakes.
fn find(args: &ConfigArgs) -> Result<Option<Found>, CommandError> {
    let written = written(args)?;
    if let Some(client) = connect(&written)? {
        return Ok(Some(Found::Listening(client)));
    }
    noted(&written)
}

/// Returns the server that the pid file names, which only one in the background has.
fn noted(written: &Written) -> Result<Option<Found>, CommandError> {
    let pid_file = pid_file::path_of(written.path("pid_file"), written.config_dir());
    Ok(running(&pid_file)?.map(|process| Found::Noted { process, pid_file }))
}

/// Connects to the server of a configuration, if it runs. Returns the connection, and the folder of the control socket.
/// The configuration may have mistakes.
///
/// # Errors
/// When there is no configuration, or the socket is another user's.
pub(super) fn control_client(args: &ConfigArgs) -> Result<(PathBuf, Option<ControlClient>), CommandError> {
    let written = written(args)?;
    let client = connect(&written)?;
    Ok((media_store(&written), client))
}

fn connect(written: &Written) -> Result<Option<ControlClient>, CommandError> {
    let folder = media_store(written);
    // A relative path depends on where the command is run, and may lead to a folder that anybody can create.
    let named = folder.is_absolute().then_some(&folder);
    let owner = |path: &PathBuf| Some(fs::metadata(path).ok()?.uid());
    let owners: Vec<u32> = written.files().iter().chain(named).filter_map(owner).collect();
    Ok(ControlClient::connect(&folder, &owners)?)
}

/// Returns the message for when no server is found.
fn not_running(args: &ConfigArgs) -> Result<String, CommandError> {
    let folder = media_store(&written(args)?);
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    Ok(format!(
        "not running: there is no control.sock of a running server in {}; one that was just started may still be \
         starting",
        folder.display()
    ))
}

fn written(args: &ConfigArgs) -> Result<Written, data_dir::LoadError> {
    let paths = data_dir::existing(args)?;
    Ok(Written::salvage(&paths))
}

fn media_store(written: &Written) -> PathBuf {
    written.path("media_store_path").unwrap_or_else(|| MediaSection::DEFAULT_STORE.into())
}

fn running(path: &Path) -> Result<Option<u32>, ControlError> {
    pid_file::running(path).map_err(|error| ControlError::PidFile(path.to_owned(), error))
}

/// Starts the server in the background; returns once it listens.
///
/// # Errors
/// When it runs already or fails to start.
pub(super) fn start(args: &ControlArgs) -> Result<(), CommandError> {
    let config = args.config();
    if args.no_daemonize {
        return serve::run(ServeArgs::plain(config));
    }
    data_dir::create_if_new(&ServeArgs::plain(config.clone()))?;
    let loaded = data_dir::examine(&config, false)?.config;
    if let Some(server) = find(&config)? {
        return Err(ControlError::Running(server.process()).into());
    }
    serve::detach(&config, &loaded, None, false)
}

/// Stops the server, in the background or not, and waits until it has ended.
///
/// # Errors
/// When it does not end.
pub(super) fn stop(args: &ControlArgs) -> Result<(), CommandError> {
    let Some(mut server) = find(&args.config())? else {
        return Ok(output::line(not_running(&args.config())?)?);
    };
    if !server.stop()? {
        return Err(ControlError::Stubborn { process: server.process(), seconds: STOP_TIMEOUT.as_secs() }.into());
    }
    Ok(output::line("stopped")?)
}

/// Stops the server if it runs, and starts it.
///
/// # Errors
/// As [`stop`] and [`start`]; with mistakes in the configuration the server is left running.
pub(super) fn restart(args: &ControlArgs) -> Result<(), CommandError> {
    if let Some(server) = find(&args.config())? {
        let is_in_background = noted(&written(&args.config())?)?.is_some();
        let own = geteuid().as_raw();
        if let Some(user) = server.user().filter(|user| *user != own) {
            return Err(ControlError::OtherUser(user_name(user)).into());
        }
        let config = data_dir::examine(&args.config(), false).map_err(ControlError::WouldNotStart)?.config;
        let needed = [pid_file::path(&config), serve::log_path(&config)];
        if let Some(problem) = needed.iter().filter(|_| !args.no_daemonize).find_map(|path| file_problem(path)) {
            return Err(ControlError::Unwritable(problem).into());
        }
        if !is_in_background && !args.no_daemonize {
            output::line(
                "the server runs in the foreground, where it ends now; it starts again in the background. Use \
                 `plexus serve` to run it in the foreground, and a service manager to restart what that started",
            )?;
        }
    }
    stop(args)?;
    start(args)
}

/// Returns the user's name, or `#` and the number, which sudo accepts as well.
fn user_name(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = user.to_string();
    let entry = users.lines().find(|line| line.split(':').nth(2) == Some(number.as_str()));
    entry.and_then(|line| line.split(':').next()).map_or_else(|| format!("#{user}"), str::to_owned)
}

/// Prints whether the server runs, and exits with 0 if so, 3 if not, 1 if that cannot be found out.
pub(super) fn status(args: &ControlArgs) -> ExitCode {
    say_status(args).unwrap_or_else(|error| {
        eprintln!("plexus: {error}");
        ExitCode::FAILURE
    })
}

fn say_status(args: &ControlArgs) -> Result<ExitCode, CommandError> {
    if let Some(server) = find(&args.config())? {
        output::line(format_args!("running, process {}", server.process()))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(not_running(&args.config()).unwrap_or_else(|_| "not running".to_owned()))?;
    Ok(ExitCode::from(NOT_RUNNING))
}
