//! Sockets that systemd opened before it started the server (sd_listen_fds(3)): it may open ports below 1024, and it
//! keeps connections that arrive while the server restarts.

#![expect(
    unsafe_code,
    reason = "only the environment says which file descriptors are sockets; one call that copies each of them"
)]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;

/// The first file descriptor of them.
const FIRST: RawFd = 3;
/// More sockets than anybody needs; a larger number is a mistake of whoever set the environment.
const MAX_SOCKETS: RawFd = 64;

/// Why the sockets that systemd opened cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// One of them is something else.
    #[error(
        "file descriptor {descriptor} of LISTEN_FDS is no TCP socket that listens: {source}; a unix socket is the \
         `path` of a listener, and the server makes it"
    )]
    NotListening {
        /// Its number.
        descriptor: RawFd,
        /// The system's error.
        source: io::Error,
    },
    /// There are too many.
    #[error("LISTEN_FDS names {count} file descriptors; at most {MAX_SOCKETS} are possible")]
    TooMany {
        /// Their number.
        count: RawFd,
    },
    /// No listener is for one of them: connections to it would never be accepted.
    #[error(
        "systemd listens on {address} for this server, but no listener has that address; add one to `listeners`, or \
         remove the address from the socket's unit"
    )]
    NoListener {
        /// Its address.
        address: SocketAddr,
    },
}

/// Sockets on which the system listens for this process already, and which no listener has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// Returns the sockets that the environment names for this process.
    ///
    /// # Errors
    /// When one of them is not a TCP socket that listens, or there are too many.
    pub fn from_env() -> Result<Self, InheritedError> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<RawFd>().ok();
        let process = std::env::var("LISTEN_PID").ok();
        let count = number("LISTEN_FDS").filter(|_| process == Some(std::process::id().to_string()));
        let count = count.unwrap_or(0);
        if count > MAX_SOCKETS {
            return Err(InheritedError::TooMany { count });
        }
        let descriptors = FIRST..FIRST + count;
        let sockets = descriptors
            .map(|descriptor| socket(descriptor).map_err(|source| InheritedError::NotListening { descriptor, source }));
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()? })
    }

    /// Returns the socket that listens on `address`, if there is one.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|(of, _)| *of == address)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Returns an error if a socket is left.
    ///
    /// # Errors
    /// [`InheritedError::NoListener`].
    pub(super) fn require_all_taken(&self) -> Result<(), InheritedError> {
        self.require_none(|_| true)
    }

    /// Returns an error if a socket with this port is left: it may be what keeps a listener from using the port.
    ///
    /// # Errors
    /// [`InheritedError::NoListener`].
    pub(super) fn require_none_on(&self, port: u16) -> Result<(), InheritedError> {
        self.require_none(|address| address.port() == port)
    }

    fn require_none(&self, is_meant: impl Fn(SocketAddr) -> bool) -> Result<(), InheritedError> {
        match self.sockets.iter().find(|(address, _)| is_meant(*address)) {
            Some((address, _)) => Err(InheritedError::NoListener { address: *address }),
            None => Ok(()),
        }
    }
}

/// Returns the socket and its address.
fn socket(descriptor: RawFd) -> io::Result<(SocketAddr, TcpListener)> {
    // SAFETY: Whoever set LISTEN_PID left these file descriptors open for this process, and nothing here closes them.
    // If one is not open, copying it fails.
    let given = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let socket = given.try_clone_to_owned()?;
    fcntl_setfd(given, FdFlags::CLOEXEC)?;
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok((listener.local_addr()?, listener))
}
