//! Binding the addresses of the configuration's listeners.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use plexus_base::config::Listener;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::inherited::{Inherited, InheritedError};

/// The most connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// `bind_addresses` holds something that is not an address.
    #[error("listener on port {port}: bind address {address:?} is not an IP address")]
    Address {
        /// The listener's port.
        port: u16,
        /// The text in the configuration.
        address: String,
    },
    /// Another process listens there.
    #[error(
        "cannot listen on {address}: the port is in use by another process; stop that one (`ss -ltnp` names it), or \
         choose another port, in the configuration or with --port"
    )]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// Another server listens on the unix socket.
    #[error("cannot listen on {path}: another process listens there; stop that one, or choose another path")]
    SocketTaken {
        /// The socket's path.
        path: PathBuf,
    },
    /// The path is a file that is not a socket.
    #[error("cannot listen on {path}: there is a file that is not a socket; move it away, or choose another path")]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The sockets that systemd opened cannot be used.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// The address or path.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The system refused a port below 1024 to a user who is not root.
    #[error(
        "cannot listen on {address}: permission denied (ports below 1024 need CAP_NET_BIND_SERVICE or a proxy in front)"
    )]
    Privileged {
        /// The address.
        address: SocketAddr,
    },
}

impl BindError {
    /// Whether the error is about this listener.
    pub fn is_about(&self, listener: &Listener) -> bool {
        match self {
            Self::Address { port, .. } => listener.port == Some(*port),
            Self::PortTaken { address } | Self::Privileged { address } => listener.port == Some(address.port()),
            Self::SocketTaken { path } | Self::NotASocket { path } => listener.path.as_ref() == Some(path),
            Self::Inherited(_) => false,
            Self::Refused { address, .. } => match &listener.path {
                Some(path) => path.display().to_string() == *address,
                None => listener.port.is_some_and(|port| address.ends_with(&format!(":{port}"))),
            },
        }
    }

    /// Returns the member of a TCP listener in the configuration that has to be changed.
    pub fn member(&self) -> &'static str {
        match self {
            Self::Address { .. } | Self::Refused { .. } => "bind_addresses",
            _ => "port",
        }
    }
}

/// Listens on `port` of each of `addresses`, where none of the `inherited` sockets does.
///
/// `::` includes IPv4 on most systems: if binding an IPv4 address beside it fails, that is not an error, nor is a
/// missing IPv6 beside `0.0.0.0` (as in Synapse).
///
/// # Errors
/// See [`BindError`].
pub(super) fn tcp(port: u16, addresses: &[String], inherited: &mut Inherited) -> Result<Vec<TcpListener>, BindError> {
    let parsed = addresses.iter().map(|address| address_of(port, address)).collect::<Result<Vec<_>, _>>()?;
    let any_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let both = parsed.contains(&any_v4) && parsed.contains(&any_v6);
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut has_any_v6 = false;
    // Port 0 means any free one; both address families have to use the same.
    let mut port = port;
    let mut order = parsed;
    order.sort_by_key(|address| *address != any_v6);
    for address in order {
        let address_and_port = SocketAddr::new(address, port);
        let listener = match inherited.take(address_and_port) {
            Some(socket) => TcpListener::from_std(socket),
            None => listen(address_and_port),
        };
        match listener {
            Ok(listener) => {
                has_any_v6 |= address == any_v6;
                if let Ok(local) = listener.local_addr() {
                    port = local.port();
                }
                listeners.push(listener);
            }
            Err(error) if both && address == any_v6 && no_ipv6(&error) => {}
            Err(error) if has_any_v6 && address.is_ipv4() && error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => {
                if error.kind() == ErrorKind::AddrInUse {
                    inherited.require_none_on(port)?;
                }
                return Err(refused(address_and_port, error));
            }
        }
    }
    Ok(listeners)
}

/// Returns the address that one of `bind_addresses` stands for.
///
/// # Errors
/// [`BindError::Address`].
pub fn address_of(port: u16, address: &str) -> Result<IpAddr, BindError> {
    if address == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    if address.is_empty() {
        return Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    address.parse().map_err(|_| BindError::Address { port, address: address.to_owned() })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no ErrorKind of its own.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == ErrorKind::AddrNotAvailable
        || error.kind() == ErrorKind::Unsupported
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn refused(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        ErrorKind::AddrInUse => BindError::PortTaken { address },
        ErrorKind::PermissionDenied if address.port() < 1024 => BindError::Privileged { address },
        _ => BindError::Refused { address: address.to_string(), source },
    }
}

/// The file of a unix socket. It is removed with the socket.
pub(crate) struct SocketFile(PathBuf);

impl SocketFile {
    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens on the unix socket `path` with the permission bits `mode`; a socket on which nobody listens any more is
/// replaced.
///
/// # Errors
/// See [`BindError`].
pub(crate) fn unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), BindError> {
    let refused = |source| BindError::Refused { address: path.display().to_string(), source };
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(BindError::SocketTaken { path: path.to_owned() });
        }
        fs::remove_file(path).map_err(refused)?;
    }
    let listener = UnixListener::bind(path).map_err(refused)?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(refused)?;
    Ok((listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ipv4_beside_all_addresses() {
        let listen_on = |addresses: &[&str]| {
            let addresses: Vec<_> = addresses.iter().map(|it| (*it).to_owned()).collect();
            tcp(0, &addresses, &mut Inherited::default())
        };
        // Not on machines without IPv6.
        if listen_on(&["::"]).is_ok() {
            for other in ["0.0.0.0", "127.0.0.1"] {
                listen_on(&[other, "::"]).unwrap_or_else(|error| panic!("{other}: {error}"));
            }
        }
    }
}
