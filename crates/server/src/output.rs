//! The standard output of commands.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::time::{Duration, UNIX_EPOCH};

/// Prints a line. Does nothing once the reader has closed the pipe, as `head` does.
///
/// # Errors
/// When it cannot be written, to a full disk for instance.
pub(crate) fn line(line: impl Display) -> io::Result<()> {
    text(format_args!("{line}\n"))
}

/// As [`line`], without the end of line.
///
/// # Errors
/// As [`line`].
pub(crate) fn text(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Returns a date in HTTP's format, for times until the year 9999.
pub(crate) fn date(unix_ms: u64) -> String {
    const LAST: u64 = 253_402_300_799_999;
    if unix_ms <= LAST {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(unix_ms))
    } else {
        format!("at {unix_ms} (Unix ms)")
    }
}
