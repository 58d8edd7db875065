//! Notifies systemd of the service's state (sd_notify(3)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket named by NOTIFY_SOCKET, if any.
#[derive(Debug, Clone)]
pub struct Notifier {
    socket: Option<OsString>,
}

impl Notifier {
    /// Reads NOTIFY_SOCKET.
    pub fn from_env() -> Self {
        Self { socket: std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) }
    }

    /// Creates one that notifies nobody.
    pub fn silent() -> Self {
        Self { socket: None }
    }

    /// Reports that the server listens.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that the server is stopping.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Reports that the server reloads on SIGHUP; `ready` follows.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    fn send(&self, message: &str) {
        let Some(name) = &self.socket else { return };
        if let Err(error) = send_to(name, message) {
            tracing::warn!("cannot notify {}: {error}", name.to_string_lossy());
        }
    }
}

fn send_to(name: &OsString, message: &str) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(rest) = name.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        let address = SocketAddr::from_abstract_name(rest)?;
        UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
        return Ok(());
    }
    let address = SocketAddr::from_pathname(name)?;
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}
