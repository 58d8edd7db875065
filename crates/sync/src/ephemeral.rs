//! The serial number of changes that are not durable: typing and presence.

use parking_lot::{Mutex, MutexGuard};

/// Numbers changes in typing and presence. Starts at the boot time in ms, so that tokens from before a restart are
/// smaller.
#[derive(Debug)]
pub struct EphemeralSerial(Mutex<u64>);

/// Held while a change is made, so that a reader of [`EphemeralSerial::current`] also sees the change.
pub struct Change<'s>(MutexGuard<'s, u64>);

impl EphemeralSerial {
    /// Creates the serial, which starts at `boot_ms` (Unix ms).
    #[must_use]
    pub fn new(boot_ms: u64) -> Self {
        Self(Mutex::new(boot_ms))
    }

    /// Returns the serial of the newest change. Every change up to it can be read.
    pub fn current(&self) -> u64 {
        *self.0.lock()
    }

    /// Begins a change; it is over when the guard is dropped.
    pub fn begin(&self) -> Change<'_> {
        Change(self.0.lock())
    }
}

impl Change<'_> {
    /// Returns the next serial.
    pub fn number(&mut self) -> u64 {
        *self.0 += 1;
        *self.0
    }
}
