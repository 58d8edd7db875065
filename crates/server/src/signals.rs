//! The signals that end a server or have it reload.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// What a signal asks for.
pub(crate) enum Signal {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
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
    pub(crate) async fn next_or(&mut self, stop: &Notify) -> Signal {
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
