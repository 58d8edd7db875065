//! `plexus start|stop|restart|status`: the server in the background, as synctl does it.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use plexus_base::config::Config;
use plexus_base::{Clock, private};
use rustix::process::{Pid, Signal, kill_process};

use super::{CommandError, ConfigArgs};
use crate::{data_dir, pid_file};

/// How long a start may take before it counts as failed: the schema may have to be brought up to date.
const START_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a stop may take: the server's own grace time and a margin.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How often is looked.
const POLL: Duration = Duration::from_millis(50);
/// What `status` exits with when nothing runs (LSB init scripts).
const NOT_RUNNING: u8 = 3;

/// Arguments of `plexus start` and its siblings.
#[derive(Debug, Args)]
pub struct ControlArgs {
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

/// Why the background server could not be controlled.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("already running, process {0}")]
    Running(i32),
    #[error("cannot read the pid file {0}: {1}")]
    PidFile(PathBuf, std::io::Error),
    #[error("the server did not start:\n{0}")]
    Failed(String),
    #[error("the server does not listen yet after 10 minutes; it is left running as process {0}")]
    Slow(u32),
    #[error("process {0} does not stop")]
    Stubborn(i32),
    #[error("cannot end process {0}: {1}")]
    Kill(i32, rustix::io::Errno),
}

/// The pid file: `pid_file`, or homeserver.pid beside the configuration.
pub fn pid_path(config: &Config) -> PathBuf {
    let named = config.server.pid_file.clone();
    named.unwrap_or_else(|| config.config_dir.join("homeserver.pid"))
}

fn running(path: &Path) -> Result<Option<i32>, ControlError> {
    pid_file::running(path).map_err(|error| ControlError::PidFile(path.to_owned(), error))
}

/// Starts the server in the background; returns once it listens.
///
/// # Errors
/// When it runs already or fails to start.
pub fn start(args: &ControlArgs) -> Result<(), CommandError> {
    let config = args.config();
    if args.no_daemonize {
        return crate::serve::run(super::ServeArgs::plain(config));
    }
    data_dir::create_if_new(&super::ServeArgs::plain(config.clone()))?;
    let loaded = data_dir::load(&config)?.config;
    if let Some(pid) = running(&pid_path(&loaded))? {
        return Err(ControlError::Running(pid).into());
    }
    detach(&config, &loaded)
}

/// Runs `plexus serve --detached` and waits until it says that it listens, or ends.
///
/// # Errors
/// When it ends, or takes too long.
pub fn detach(args: &ConfigArgs, config: &Config) -> Result<(), CommandError> {
    let log_path = config.config_dir.join("homeserver.log");
    let mut log = private::options().create(true).append(true).read(true).open(&log_path)?;
    let before = log.metadata()?.len();
    let socket_path = std::env::temp_dir().join(format!("plexus-start-{}", std::process::id()));
    // Left over by an earlier process of the same number, if at all.
    let _ = fs::remove_file(&socket_path);
    let socket = UnixDatagram::bind(&socket_path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--detached").arg("--data-dir").arg(args.data_dir());
    for path in &args.config_path {
        command.arg("--config-path").arg(path);
    }
    let child = command
        .env("NOTIFY_SOCKET", &socket_path)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()?;
    let result = wait_until_ready(child, &socket);
    // In the temporary folder anyway.
    let _ = fs::remove_file(&socket_path);
    match result? {
        Started::Ready(pid) => println!("started, process {pid}; it logs to {}", log_path.display()),
        Started::Ended => {
            let mut text = String::new();
            log.seek(SeekFrom::Start(before))?;
            log.read_to_string(&mut text)?;
            return Err(ControlError::Failed(text.trim_end().to_owned()).into());
        }
    }
    Ok(())
}

enum Started {
    Ready(u32),
    Ended,
}

fn wait_until_ready(mut child: Child, socket: &UnixDatagram) -> Result<Started, CommandError> {
    let clock = Clock::system();
    let begun = clock.monotonic();
    socket.set_read_timeout(Some(POLL))?;
    let mut message = [0_u8; 256];
    loop {
        if let Ok(length) = socket.recv(&mut message) {
            let said = message.get(..length).unwrap_or_default();
            if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(Started::Ready(child.id()));
            }
        }
        if child.try_wait()?.is_some() {
            return Ok(Started::Ended);
        }
        if clock.monotonic().saturating_sub(begun) > START_TIMEOUT {
            return Err(ControlError::Slow(child.id()).into());
        }
    }
}

/// Stops the server and waits for its end.
///
/// # Errors
/// When it does not end.
pub fn stop(args: &ControlArgs) -> Result<(), CommandError> {
    let config = data_dir::load(&args.config())?.config;
    let path = pid_path(&config);
    let Some(pid) = running(&path)? else {
        println!("not running");
        return Ok(());
    };
    if let Some(process) = Pid::from_raw(pid) {
        kill_process(process, Signal::TERM).map_err(|error| ControlError::Kill(pid, error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let gone = async {
            while running(&path)? == Some(pid) {
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        tokio::time::timeout(STOP_TIMEOUT, gone).await.unwrap_or(Err(ControlError::Stubborn(pid)))
    })?;
    println!("stopped");
    Ok(())
}

/// Stops the server if it runs, and starts it.
///
/// # Errors
/// As [`stop`] and [`start`].
pub fn restart(args: &ControlArgs) -> Result<(), CommandError> {
    stop(args)?;
    start(args)
}

/// Says whether the server runs: 0 if so, 3 if not, 1 when that cannot be found out.
pub fn status(args: &ControlArgs) -> ExitCode {
    let pid = data_dir::load(&args.config())
        .map_err(CommandError::from)
        .and_then(|loaded| Ok(running(&pid_path(&loaded.config))?));
    match pid {
        Ok(Some(pid)) => {
            println!("running, process {pid}");
            ExitCode::SUCCESS
        }
        Ok(None) => {
            println!("not running");
            ExitCode::from(NOT_RUNNING)
        }
        Err(error) => {
            eprintln!("plexus: {error}");
            ExitCode::FAILURE
        }
    }
}
