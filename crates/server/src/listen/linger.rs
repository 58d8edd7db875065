//! Closes a connection on which the other end may still be sending.
//!
//! The system answers data that nobody reads with a reset, upon which the other end drops the data that it has received
//! and not read: a client that sends a large body would not see why it was refused (RFC 9112, section 9.6). So the
//! writing half is closed first, and the rest is read and dropped.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use plexus_base::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stall::{Timer, timer};

/// How long a client has to notice the response and to stop sending.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes that are read meanwhile: the rest of an upload of usual size.
const MAX_LINGER_BYTES: usize = 32 * 1024 * 1024;
/// How much is read at a time, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// Tells a [`LingeringClose`] that a request was answered before all of it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Records that part of the last request has not been read.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream that, when it is shut down with a body unread, first reads the rest, within [`LINGER_TIMEOUT`].
pub(super) struct LingeringClose<S> {
    stream: S,
    clock: Clock,
    unread: Unread,
    closing: Option<Closing>,
}

struct Closing {
    timer: Timer,
    /// How many more bytes are read at most.
    left: usize,
}

impl<S> LingeringClose<S> {
    /// Wraps `stream`; it lingers if `unread` is set when it is shut down.
    pub(super) fn new(stream: S, clock: Clock, unread: Unread) -> Self {
        Self { stream, clock, unread, closing: None }
    }
}

impl Closing {
    /// Reads until the other end closes its half, fails, or has sent too much for too long.
    fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; READ_BYTES];
        while self.left > 0 {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.timer.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LingeringClose<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringClose<S> {
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
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.unread.0.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            let timer = timer(&this.clock, LINGER_TIMEOUT);
            this.closing = Some(Closing { timer, left: MAX_LINGER_BYTES });
        }
        match &mut this.closing {
            Some(closing) => closing.poll(&mut this.stream, cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}
