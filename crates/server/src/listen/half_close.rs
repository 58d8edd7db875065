//! Serves clients that close their half of a connection once they have sent a request (RFC 9112, section 9.6).
//!
//! hyper takes the end of what it reads during a request for a client that is gone, and drops the request. Whether the
//! response gets out before depends on chance. So the end is held back while the response to a whole request is on its
//! way. It is not while the request waits for an event: a client that is gone must not hold its connection for a
//! long poll.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::Activity;
use super::heads::HeadGuard;

/// An HTTP/1 stream that ends only when no response is on its way.
pub(super) struct HalfClose<S> {
    stream: HeadGuard<S>,
    activity: Arc<Activity>,
    /// Whether the other end has closed its half.
    has_ended: bool,
    /// Whether something was written since the last complete flush.
    has_unflushed: bool,
}

impl<S> HalfClose<S> {
    /// Wraps the `stream` of the connection whose requests are in `activity`.
    pub(super) fn new(stream: HeadGuard<S>, activity: Arc<Activity>) -> Self {
        Self { stream, activity, has_ended: false, has_unflushed: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HalfClose<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.has_ended {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            this.has_ended = true;
        }
        let is_handled = this.activity.is_handling(this.stream.has_whole_request(), cx.waker());
        // After a flush hyper reads by itself.
        if is_handled || this.has_unflushed { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HalfClose<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.has_unflushed = true;
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.has_unflushed = true;
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.has_unflushed = false;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
