//! Records dropped because a system service could not receive them.

use std::io::{self, ErrorKind, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts dropped records. Requests log on their own threads, so logging must not wait for a stuck service: losing
/// records is better than a stuck server.
#[derive(Debug, Default)]
pub(super) struct Losses(AtomicU64);

impl Losses {
    /// Sends a record with `send`, which must not block. As soon as sending works again, a record says how many were
    /// dropped. A record that cannot be sent for another reason goes to standard error.
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
