//! The serial number of changes that are not durable: typing and presence.

use parking_lot::{Mutex, MutexGuard};

/// Numbers changes in typing and presence. Starts at the boot time in ms, so that tokens from before a restart are
/// smaller; a larger serial in a token is from before the clock was set back, and counts as 0.
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

    /// Returns the serial after which changes are new to a client whose token has `serial`. One that is larger than
    /// every serial so far is from before a restart with a clock that was set back: everything is new then.
    pub fn seen(&self, serial: u64) -> u64 {
        if serial > self.current() { 0 } else { serial }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_from_before_the_clock_was_set_back_hides_nothing() {
        let serial = EphemeralSerial::new(1_000);
        let number = serial.begin().number();
        assert_eq!((serial.seen(999), serial.seen(number), serial.seen(number + 1)), (999, number, 0));
    }
}
