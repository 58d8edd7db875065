//! `plexus start` and `serve --daemonize`: the server in a process of its own.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plexus_base::config::Config;
use plexus_base::{Clock, Random, private};

use crate::command::{CommandError, ConfigArgs};
use crate::output;

/// How long a start may take until it counts as failed: the schema may have to be migrated.
const START_TIMEOUT: Duration = Duration::from_secs(600);
/// The time between two checks.
const POLL: Duration = Duration::from_millis(50);

/// Why no server was started in the background.
#[derive(Debug, thiserror::Error)]
enum DetachError {
    #[error("the server did not start:\n{0}")]
    Failed(String),
    #[error("the server does not listen yet after 10 minutes; it is left running as process {0}")]
    Slow(u32),
    #[error("cannot write {0}: {1}")]
    Unwritten(PathBuf, std::io::Error),
}

/// Returns the file to which a server in the background writes its standard output and error.
pub(crate) fn log_path(config: &Config) -> PathBuf {
    config.config_dir.join("homeserver.log")
}

/// Runs `plexus serve --detached` and waits until it reports that it listens, or ends.
///
/// # Errors
/// When it ends, or takes too long.
pub(crate) fn detach(
    args: &ConfigArgs,
    config: &Config,
    port: Option<u16>,
    forbid_secrets: bool,
) -> Result<(), CommandError> {
    let log_path = log_path(config);
    let log = private::options().create(true).append(true).read(true).open(&log_path);
    let mut log = log.map_err(|error| DetachError::Unwritten(log_path.clone(), error))?;
    let before = log.metadata()?.len();
    // Accessible to this user alone, so that nobody else can report that the server is ready.
    let folder = std::env::temp_dir().join(format!("plexus-start-{}", Random::system().alphanumeric(16)));
    private::create_folder(&folder).map_err(|error| DetachError::Unwritten(folder.clone(), error))?;
    let socket_path = folder.join("notify");
    let socket = UnixDatagram::bind(&socket_path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--detached").arg("--data-dir").arg(args.data_dir());
    for path in &args.config_path {
        command.arg("--config-path").arg(path);
    }
    if let Some(port) = port {
        command.arg("--port").arg(port.to_string());
    }
    if forbid_secrets {
        command.arg("--no-secrets-in-config");
    }
    let child = command
        .env("NOTIFY_SOCKET", &socket_path)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()?;
    let result = wait_until_ready(child, &socket);
    // It is in the temporary folder in any case.
    let _ = fs::remove_dir_all(&folder);
    match result? {
        Started::Ready(pid) => {
            output::line(format_args!("started, process {pid}; it logs to {}", log_path.display()))?;
        }
        Started::Ended => {
            let mut text = String::new();
            log.seek(SeekFrom::Start(before))?;
            log.read_to_string(&mut text)?;
            return Err(DetachError::Failed(text.trim_end().to_owned()).into());
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
            return Err(DetachError::Slow(child.id()).into());
        }
    }
}
