//! A syslog daemon, by datagrams (RFC 3164), like Python's `SysLogHandler`.

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::journal::{severity, shortened};
use super::losses::Losses;

/// The longest record, in bytes: daemons accept 8 KiB by default.
const MAX_RECORD: usize = 8 * 1024;

/// The address of a syslog daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A Unix datagram socket.
    Unix(PathBuf),
    /// A host and a port, over UDP.
    Udp(String, u16),
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Udp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// A facility of syslog, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    pub(super) const USER: Self = Self(1);

    /// Parses a name or number.
    pub(super) fn named(word: &str) -> Option<Self> {
        const NAMES: [&str; 24] = [
            "kern",
            "user",
            "mail",
            "daemon",
            "auth",
            "syslog",
            "lpr",
            "news",
            "uucp",
            "cron",
            "authpriv",
            "ftp",
            "ntp",
            "security",
            "console",
            "solaris-cron",
            "local0",
            "local1",
            "local2",
            "local3",
            "local4",
            "local5",
            "local6",
            "local7",
        ];
        let word = word.to_ascii_lowercase();
        let word = word.strip_prefix("log_").unwrap_or(&word);
        let index = NAMES.iter().position(|name| *name == word).or_else(|| word.parse().ok())?;
        u8::try_from(index).ok().filter(|number| *number < 24).map(Self)
    }
}

/// A syslog daemon. Clones share the socket.
#[derive(Debug, Clone)]
pub(super) struct Syslog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: Socket,
    facility: Facility,
    losses: Losses,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram, PathBuf),
    Udp(UdpSocket, SocketAddr),
}

/// A record to send.
pub(super) struct Record {
    syslog: Syslog,
    priority: u8,
}

impl Syslog {
    /// # Errors
    /// When no daemon listens at a path, or a host cannot be found.
    pub(super) fn open(address: &SyslogAddress, facility: Facility) -> io::Result<Self> {
        let socket = match address {
            SyslogAddress::Unix(path) => {
                UnixDatagram::unbound()?.connect(path)?;
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Socket::Unix(socket, path.clone())
            }
            SyslogAddress::Udp(host, port) => {
                let mut found = (host.as_str(), *port).to_socket_addrs()?;
                let address = found.next().ok_or_else(|| io::Error::other("the host has no address"))?;
                let socket = match address {
                    SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
                    SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
                };
                socket.set_nonblocking(true)?;
                Socket::Udp(socket, address)
            }
        };
        Ok(Self(Arc::new(Shared { socket, facility, losses: Losses::default() })))
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        Record { syslog: self.clone(), priority: self.0.facility.0 * 8 + severity(Level::INFO) }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Record {
        Record { syslog: self.clone(), priority: self.0.facility.0 * 8 + severity(*metadata.level()) }
    }
}

impl Write for Record {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let Syslog(shared) = &self.syslog;
        shared.losses.send(text, |text| {
            let mut datagram = format!("<{}>", self.priority).into_bytes();
            datagram.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
            datagram.truncate(shortened(&datagram, MAX_RECORD).len());
            match &shared.socket {
                // Unconnected, so that a restarted daemon is found again.
                Socket::Unix(socket, path) => socket.send_to(&datagram, path),
                Socket::Udp(socket, address) => socket.send_to(&datagram, address),
            }
        })?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_names_and_numbers() {
        let cases = [("user", Some(1)), ("LOG_DAEMON", Some(3)), ("local7", Some(23)), ("16", Some(16))];
        for (word, number) in cases.into_iter().chain([("24", None), ("nothing", None)]) {
            assert_eq!(Facility::named(word), number.map(Facility), "{word}");
        }
    }
}
