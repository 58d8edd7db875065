//! Refuses request heads in which a line does not end with CRLF.
//!
//! The parser that hyper uses accepts a bare LF as the end of a line, as RFC 9112 (section 2.2) allows. A proxy in
//! front that does not would see other requests than this server: request smuggling. A parsed request does not show it,
//! and the parser has no option for it, so the bytes are checked on their way into the parser.
//!
//! The beginning of a head is known because each chunk that hyper gets ends with a head: the number of bytes of body
//! that follow is then what hyper took from that head ([`BodyLengths`]), not a second opinion. The bytes after a body
//! of unknown length (chunked) are not checked; the connection has to end with that request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::linger::Unread;

/// Passes the length of a parsed request's body to a [`HeadGuard`].
#[derive(Debug, Clone, Default)]
pub(super) struct BodyLengths(Arc<Mutex<Option<Length>>>);

#[derive(Debug, Clone, Copy)]
enum Length {
    Known(u64),
    Unknown,
}

impl BodyLengths {
    /// Records that the head of a request has been parsed; `None` stands for a body whose end only its parser sees.
    pub(super) fn parsed(&self, length: Option<u64>) {
        *self.0.lock() = Some(length.map_or(Length::Unknown, Length::Known));
    }

    fn take(&self) -> Option<Length> {
        self.0.lock().take()
    }
}

/// A stream in which no line of a request head ends with a bare LF: such a head ends with a NUL instead, to which hyper
/// responds with 400.
pub(super) struct HeadGuard<S> {
    stream: S,
    lengths: BodyLengths,
    unread: Unread,
    phase: Phase,
    /// Bytes that were read, and not handed on yet; at most those of one read.
    held: BytesMut,
}

#[derive(Debug)]
enum Phase {
    Head(Lines),
    /// A head has been handed on, and hyper has to report what follows.
    Parsed,
    /// This many bytes of a body.
    Body(u64),
    /// A body of unknown length; these are the last bytes of it.
    Unchecked([u8; 4]),
    /// The rest of the text that ends a refused head: hyper parses a head again when it sees its end.
    Refused(&'static [u8]),
}

impl<S> HeadGuard<S> {
    /// Guards `stream`, and sets `unread` when it is shut down within a head, because hyper refused the head.
    pub(super) fn new(stream: S, lengths: BodyLengths, unread: Unread) -> Self {
        Self { stream, lengths, unread, phase: Phase::Head(Lines::default()), held: BytesMut::new() }
    }

    /// Whether all of the last request was handed on, and nothing since. A chunked body that pauses after an empty line
    /// counts as whole, because it ends with one.
    pub(super) fn has_whole_request(&self) -> bool {
        match &self.phase {
            Phase::Head(lines) => !lines.started,
            Phase::Unchecked(last) => last == b"\r\n\r\n",
            Phase::Parsed | Phase::Body(_) | Phase::Refused(_) => false,
        }
    }

    /// Decides what follows a head.
    fn proceed(&mut self) -> io::Result<()> {
        if let Phase::Parsed = self.phase {
            self.phase = match self.lengths.take() {
                Some(Length::Known(0)) => Phase::Head(Lines::default()),
                Some(Length::Known(length)) => Phase::Body(length),
                Some(Length::Unknown) => Phase::Unchecked([0; 4]),
                // hyper took the head for unfinished, which cannot be: the connection ends rather than pass on
                // unchecked bytes.
                None => return Err(io::ErrorKind::InvalidData.into()),
            };
        }
        Ok(())
    }

    /// Returns how many of these next bytes belong to the phase, and sets the phase after them.
    fn accept(&mut self, bytes: &mut [u8]) -> usize {
        match &mut self.phase {
            Phase::Head(lines) => match lines.scan(bytes) {
                Scanned::Unfinished => bytes.len(),
                Scanned::End(length) => {
                    self.phase = Phase::Parsed;
                    length
                }
                Scanned::BareLf(at) => {
                    self.phase = Phase::Refused(b"\r\n\r\n");
                    bytes[at] = 0;
                    at + 1
                }
            },
            Phase::Body(left) => {
                let part = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= part as u64;
                if *left == 0 {
                    self.phase = Phase::Head(Lines::default());
                }
                part
            }
            Phase::Unchecked(last) => {
                let all = [last.as_slice(), &bytes[bytes.len().saturating_sub(4)..]].concat();
                last.copy_from_slice(&all[all.len() - 4..]);
                bytes.len()
            }
            Phase::Parsed | Phase::Refused(_) => bytes.len(),
        }
    }

    fn read_held(&mut self, buf: &mut ReadBuf<'_>) {
        let mut part = self.held.split_to(self.held.len().min(buf.remaining()));
        let accepted = self.accept(&mut part);
        let mut rest = part.split_off(accepted);
        buf.put_slice(&part);
        rest.unsplit(std::mem::take(&mut self.held));
        self.held = rest;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.proceed()?;
        if let Phase::Refused(end) = &mut this.phase {
            let (part, rest) = end.split_at(end.len().min(buf.remaining()));
            buf.put_slice(part);
            *end = rest;
        } else if this.held.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let accepted = this.accept(&mut buf.filled_mut()[before..]);
            this.held.extend_from_slice(&buf.filled()[before + accepted..]);
            buf.set_filled(before + accepted);
        } else {
            this.read_held(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_within_head = match &self.phase {
            Phase::Head(lines) => lines.started,
            Phase::Refused(_) => true,
            Phase::Parsed | Phase::Body(_) | Phase::Unchecked(_) => false,
        };
        if is_within_head {
            self.unread.set();
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The lines of one head as far as they have been read. Empty lines before the first are skipped, as hyper skips them.
#[derive(Debug, Default)]
struct Lines {
    started: bool,
    /// Whether the line has a byte other than the CR of its end.
    filled: bool,
    after_cr: bool,
}

#[derive(Debug, PartialEq)]
enum Scanned {
    Unfinished,
    /// The head ends after this many bytes.
    End(usize),
    /// A line ends with a bare LF at this byte.
    BareLf(usize),
}

impl Lines {
    fn scan(&mut self, bytes: &[u8]) -> Scanned {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if !self.after_cr => return Scanned::BareLf(at),
                b'\n' => {
                    if self.started && !self.filled {
                        return Scanned::End(at + 1);
                    }
                    self.started |= self.filled;
                    (self.filled, self.after_cr) = (false, false);
                }
                b'\r' => {
                    self.filled |= self.after_cr;
                    self.after_cr = true;
                }
                _ => (self.filled, self.after_cr) = (true, false),
            }
        }
        Scanned::Unfinished
    }
}

#[cfg(test)]
mod tests;
