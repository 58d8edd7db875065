//! Records that a service of the system had no room for.

use std::io::{self, ErrorKind, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts records that were lost. Requests log where they are carried out, so logging must not wait for a service that
/// is stuck: losing records is better than a server that stands still.
#[derive(Debug, Default)]
pub(super) struct Losses(AtomicU64);

impl Losses {
    /// Sends a record by `send`, which must not block. Once there is room again, a record says how many were lost. A
    /// record that cannot be sent for another reason goes to the standard error.
    pub(super) fn send(&self, record: &[u8], send: impl Fn(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        match send(record) {
            Ok(_) => {
                let lost = self.0.swap(0, Ordering::Relaxed);
                let notice = format!("plexus: {lost} log records were lost, because the service had no room for them");
                if lost > 0 && send(notice.as_bytes()).is_err() {
                    self.0.fetch_add(lost, Ordering::Relaxed);
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.0.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => io::stderr().write_all(record),
        }
    }
}
