//! The control socket, through which commands on this machine reach the running server.
//!
//! It is a unix socket and not HTTP because the system tells who connects: the server's own user and root may, nobody
//! else may, and there is no secret to keep. Commands on accounts do not write to the database of a running server:
//! that would bypass its caches. (`plexus token` does: registration tokens are not cached.) The socket is in the media
//! store, the one folder that every server can write to. `plexus stop` and `plexus status` use it as well, however the
//! server was started.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plexus_http::{Arrived, Probes};
use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::listen::{self, BindError, SocketFile};
use crate::users::{UserAdmin, UserReply, UserRequest};

/// The socket's name in the media store.
const NAME: &str = "control.sock";
/// Only the server's own user may connect (and root, who may anyway).
const MODE: u32 = 0o600;
/// The most commands connected at the same time: a person runs one, and `plexus stop` stays until the end.
const MAX_CONNECTIONS: usize = 16;
/// The longest request, in bytes: it holds a password at most.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;
/// The longest path that fits into a unix socket's address (104 bytes on some systems); longer ones are reached through
/// [`Place::folder`].
const MAX_PATH_BYTES: usize = 100;
/// How long a command waits for the server's reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A command's request to the server.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    /// Return the server's process id.
    Process,
    /// Finish the requests in progress, and end.
    Stop,
    /// A request about users.
    User(UserRequest),
    /// Wait for a request whose target holds this text.
    ExpectProbe(String),
    /// Say how that request arrived.
    TakeProbe(String),
}

/// The server's reply.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    /// The process id, as the server sees it.
    Process(u32),
    /// The server is ending. The connection closes when it has ended.
    Stopping,
    /// The result of a request about users.
    User(UserReply),
    /// The server waits for the request.
    ExpectsProbe,
    /// How the request arrived, if it did.
    Probe(Option<Arrived>),
    /// The command is of another version than the server, whose version this is.
    NotUnderstood(String),
}

/// The socket's path, and one that is short enough.
struct Place {
    path: PathBuf,
    short: PathBuf,
    /// Held open while `short` leads through it.
    _folder: Option<OwnedFd>,
}

impl Place {
    fn of(media_store: &Path) -> io::Result<Self> {
        let path = std::path::absolute(media_store)?.join(NAME);
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Self { short: path.clone(), path, _folder: None });
        }
        let folder = rustix::fs::open(media_store, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(NAME);
        Ok(Self { path, short, _folder: Some(folder) })
    }
}

/// The server's end of the control socket.
pub struct ControlSocket {
    listener: UnixListener,
    // Removed, in this order, while the place still leads to it.
    _file: SocketFile,
    place: Place,
}

impl ControlSocket {
    /// Listens in the folder of the media store.
    ///
    /// # Errors
    /// When another server listens there, or the system refuses.
    pub fn bind(media_store: &Path) -> Result<Self, BindError> {
        let refused = |source| BindError::Refused { address: media_store.join(NAME).display().to_string(), source };
        let place = Place::of(media_store).map_err(refused)?;
        let (listener, file) = listen::bind_unix(&place.short, MODE)?;
        Ok(Self { listener, _file: file, place })
    }

    /// Handles the requests of commands until the future is dropped, which ends the connections. Notifies `stop` when a
    /// command asks the server to end.
    pub async fn serve(self, users: Arc<UserAdmin>, probes: Arc<Probes>, stop: Arc<Notify>) {
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot accept a connection on {}: {error}", self.place.path.display());
                    #[expect(clippy::disallowed_methods, reason = "the operating system has run out of descriptors")]
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let (users, probes, stop) = (Arc::clone(&users), Arc::clone(&probes), Arc::clone(&stop));
            connections.spawn(async move {
                if let Err(error) = converse(stream, &users, &probes, &stop).await {
                    tracing::debug!("a command hung up: {error}");
                }
                drop(permit);
            });
        }
    }
}

/// Replies to requests, one JSON object a line, until the command hangs up.
async fn converse(stream: tokio::net::UnixStream, users: &UserAdmin, probes: &Probes, stop: &Notify) -> io::Result<()> {
    // The socket's mode says the same; it is set a moment after the socket is there.
    let caller = stream.peer_cred()?.uid();
    if caller != 0 && caller != geteuid().as_raw() {
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read);
    loop {
        let mut line = Vec::new();
        if (&mut read).take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let reply = match serde_json::from_slice(&line) {
            Ok(Request::Process) => Reply::Process(std::process::id()),
            Ok(Request::Stop) => {
                stop.notify_one();
                Reply::Stopping
            }
            Ok(Request::ExpectProbe(nonce)) => {
                probes.expect(nonce);
                Reply::ExpectsProbe
            }
            Ok(Request::TakeProbe(nonce)) => Reply::Probe(probes.take(&nonce)),
            Ok(Request::User(request)) => Reply::User(users.carry_out(request).await),
            Err(_) => Reply::NotUnderstood(env!("CARGO_PKG_VERSION").to_owned()),
        };
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
}

/// A command's end of the control socket.
pub struct ControlClient {
    stream: BufReader<UnixStream>,
    /// The server's process.
    pub process: u32,
    /// The number of the user that runs the server.
    pub user: u32,
}

/// Why a running server did not do what a command requested.
#[derive(Debug, thiserror::Error)]
pub enum ControlClientError {
    /// The socket exists, but cannot be used.
    #[error("cannot connect to the server at {0}: {1}")]
    Connect(PathBuf, io::Error),
    /// Another user's process listens there.
    #[error(
        "the process that listens at {0} is user {1}'s, who is neither root nor you nor the owner of the \
         configuration: nothing was sent to it; run the command as the user that the server runs as"
    )]
    Stranger(PathBuf, u32),
    /// The connection failed.
    #[error("the connection to the server was lost: {0}")]
    Lost(#[from] io::Error),
    /// The server hung up.
    #[error("the server hung up; it may be stopping")]
    HungUp,
    /// The server did not reply in time.
    #[error("the server has not replied within {} s", REPLY_TIMEOUT.as_secs())]
    Slow,
    /// The server is of another version than this command.
    #[error("the running server is Plexus {0} and does not understand this command; restart it")]
    NotUnderstood(String),
    /// The server is of another version than this command, or is not Plexus.
    #[error("the server's reply makes no sense; restart it if it is of another version")]
    Reply,
}

impl ControlClient {
    /// Connects to the server whose media store this is; `None` if none listens there. The process that listens gets
    /// passwords, so it must be one of root, of the caller or, if root calls, of one of `owners`.
    ///
    /// # Errors
    /// When the socket cannot be used: most likely it is another user's.
    pub fn connect(media_store: &Path, owners: &[u32]) -> Result<Option<Self>, ControlClientError> {
        let connected = Place::of(media_store).and_then(|place| UnixStream::connect(&place.short));
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(ControlClientError::Connect(media_store.join(NAME), error)),
        };
        let user = socket_peercred(&stream).map_err(io::Error::from)?.uid.as_raw();
        if !is_trusted(user, geteuid().as_raw(), owners) {
            return Err(ControlClientError::Stranger(media_store.join(NAME), user));
        }
        let mut client = Self { stream: BufReader::new(stream), process: 0, user };
        let Reply::Process(process) = client.exchange(&Request::Process)? else {
            return Err(ControlClientError::Reply);
        };
        client.process = process;
        Ok(Some(client))
    }

    /// Sends a request about users.
    ///
    /// # Errors
    /// See [`ControlClientError`].
    pub fn ask(&mut self, request: UserRequest) -> Result<UserReply, ControlClientError> {
        match self.exchange(&Request::User(request))? {
            Reply::User(reply) => Ok(reply),
            _ => Err(ControlClientError::Reply),
        }
    }

    /// Lets the server wait for a request whose target holds `nonce`, for a minute.
    ///
    /// # Errors
    /// See [`ControlClientError`].
    pub fn expect_probe(&mut self, nonce: &str) -> Result<(), ControlClientError> {
        match self.exchange(&Request::ExpectProbe(nonce.to_owned()))? {
            Reply::ExpectsProbe => Ok(()),
            _ => Err(ControlClientError::Reply),
        }
    }

    /// Returns how that request arrived; `None` if it did not.
    ///
    /// # Errors
    /// See [`ControlClientError`].
    pub fn take_probe(&mut self, nonce: &str) -> Result<Option<Arrived>, ControlClientError> {
        match self.exchange(&Request::TakeProbe(nonce.to_owned()))? {
            Reply::Probe(arrived) => Ok(arrived),
            _ => Err(ControlClientError::Reply),
        }
    }

    /// Stops the server. Returns false if it has not ended within `patience`.
    ///
    /// # Errors
    /// See [`ControlClientError`].
    pub fn stop(&mut self, patience: Duration) -> Result<bool, ControlClientError> {
        let Reply::Stopping = self.exchange(&Request::Stop)? else {
            return Err(ControlClientError::Reply);
        };
        // The connection ends with the server.
        self.stream.get_mut().set_read_timeout(Some(patience))?;
        match self.stream.read(&mut [0]) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn exchange(&mut self, request: &Request) -> Result<Reply, ControlClientError> {
        let text = serde_json::to_string(request).map_err(io::Error::from)?;
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.write_all(format!("{text}\n").as_bytes())?;
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err(ControlClientError::HungUp),
            Ok(_) => match serde_json::from_str(&line) {
                Ok(Reply::NotUnderstood(version)) => Err(ControlClientError::NotUnderstood(version)),
                Ok(reply) => Ok(reply),
                Err(_) => Err(ControlClientError::Reply),
            },
            Err(error) if is_timeout(&error) => Err(ControlClientError::Slow),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a process of `user` may get what the user `own` sends to the server; see [`ControlClient::connect`].
fn is_trusted(user: u32, own: u32, owners: &[u32]) -> bool {
    user == 0 || user == own || (own == 0 && owners.contains(&user))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_to_the_server_alone() {
        let cases: [(u32, u32, &[u32], bool); 6] = [
            (0, 1000, &[], true),
            (1000, 1000, &[], true),
            (1001, 1000, &[], false),
            (1001, 1000, &[1001], false),
            (104, 0, &[104], true),
            (1001, 0, &[104], false),
        ];
        for (user, own, owners, trusted) in cases {
            assert_eq!(is_trusted(user, own, owners), trusted, "{user} {own} {owners:?}");
        }
    }
}
