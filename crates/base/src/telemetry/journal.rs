//! systemd's journal, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::losses::Losses;
use super::pattern::{logger_name, message};

/// The socket of the journal.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// The longest message sent, in bytes: well below the default limit of datagrams, 208 KiB.
const MAX_MESSAGE: usize = 64 * 1024;

/// The journal. Clones share the socket.
#[derive(Debug, Clone)]
pub(super) struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: UnixDatagram,
    path: PathBuf,
    fields: Vec<(String, String)>,
    losses: Losses,
}

/// A record to send, with its metadata.
pub(super) struct Record {
    journal: Journal,
    /// Encoded fields.
    head: Vec<u8>,
}

impl Journal {
    /// Opens the journal. `fields` are added to every record.
    ///
    /// # Errors
    /// When no journal listens at `path`.
    pub(super) fn open(path: &Path, fields: &[(String, String)]) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let (path, fields, losses) = (path.to_owned(), fields.to_vec(), Losses::default());
        Ok(Self(Arc::new(Shared { socket, path, fields, losses })))
    }
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        let mut head = Vec::new();
        self.0.fields.iter().for_each(|(name, value)| encode(&mut head, name, value.as_bytes()));
        Record { journal: self.clone(), head }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Record {
        let mut record = self.make_writer();
        let head = &mut record.head;
        encode(head, "PRIORITY", severity(*metadata.level()).to_string().as_bytes());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            encode(head, "CODE_FILE", file.as_bytes());
            encode(head, "CODE_LINE", line.to_string().as_bytes());
        }
        record
    }
}

/// A format whose records begin with a line with the logger's name, which [`Record`] turns into a field: a writer only
/// knows the metadata of an event, and the name of the access log depends on the message.
#[derive(Debug)]
pub(super) struct LoggerFirst<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for LoggerFirst<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writeln!(to, "{}", logger_name(event.metadata().target(), &message(event)))?;
        self.0.format_event(ctx, to, event)
    }
}

impl Write for Record {
    /// Sends a whole record, as written by [`LoggerFirst`].
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let Journal(shared) = &self.journal;
        let (logger, message) = match text.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&text[..end], &text[end + 1..]),
            None => (&b""[..], text),
        };
        let mut head = self.head.clone();
        encode(&mut head, "LOGGER", logger);
        shared.losses.send(message, |message| {
            let mut datagram = head.clone();
            encode(&mut datagram, "MESSAGE", shortened(message.strip_suffix(b"\n").unwrap_or(message), MAX_MESSAGE));
            // Unconnected, so that a restarted journal is found again.
            shared.socket.send_to(&datagram, &shared.path)
        })?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns at most `max` bytes, without splitting a character: what reads logs shows only UTF-8.
pub(super) fn shortened(message: &[u8], max: usize) -> &[u8] {
    let message = &message[..message.len().min(max)];
    match std::str::from_utf8(message) {
        Ok(_) => message,
        Err(error) => &message[..error.valid_up_to()],
    }
}

/// A value with a line end is preceded by its length, other values by `=`.
fn encode(datagram: &mut Vec<u8>, name: &str, value: &[u8]) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value);
    datagram.push(b'\n');
}

/// Returns the number of the level in syslog (RFC 5424, section 6.2.1).
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_lines_have_a_length() {
        let mut datagram = Vec::new();
        encode(&mut datagram, "A", b"b=c");
        encode(&mut datagram, "D", b"e\nf");
        assert_eq!(datagram, b"A=b=c\nD\n\x03\0\0\0\0\0\0\0e\nf\n");
    }

    #[test]
    fn long_messages_end_with_a_whole_character() {
        let long = format!("x{}", "é".repeat(MAX_MESSAGE));
        assert_eq!(shortened(long.as_bytes(), MAX_MESSAGE).len(), MAX_MESSAGE - 1);
        assert_eq!(shortened("é".as_bytes(), MAX_MESSAGE), "é".as_bytes());
    }
}
