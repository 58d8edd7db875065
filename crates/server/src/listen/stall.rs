//! Ends connections whose other end accepts nothing.

use std::ffi::c_int;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use plexus_base::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::out_queue;

/// How long the other end may accept nothing of what is written to it. A download that moves at all is not ended.
pub(super) const WRITE_STALL: Duration = Duration::from_secs(30);

/// A timer that a connection's own poll functions drive.
pub(super) type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Returns a timer that ends after `duration`.
pub(super) fn timer(clock: &Clock, duration: Duration) -> Timer {
    let clock = clock.clone();
    Box::pin(async move { clock.sleep(duration).await })
}

/// A socket whose writes fail once the other end has accepted nothing for [`WRITE_STALL`]. Reads are left alone: a
/// client may wait for an event for as long as it likes.
pub(super) struct StallGuard<S> {
    socket: S,
    clock: Clock,
    /// Set while a write waits.
    stalled: Option<Stalled>,
}

struct Stalled {
    timer: Timer,
    /// The bytes that were not accepted when the timer was started.
    unaccepted: Option<c_int>,
}

impl<S: AsFd> StallGuard<S> {
    /// Guards `socket`.
    pub(super) fn new(socket: S, clock: Clock) -> Self {
        Self { socket, clock, stalled: None }
    }

    fn unaccepted(&self) -> Option<c_int> {
        out_queue::unaccepted(&self.socket).ok()
    }

    /// Returns the outcome of a write: `written`, unless it has waited for too long.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        loop {
            let unaccepted = self.unaccepted();
            let new = || Stalled { timer: timer(&self.clock, WRITE_STALL), unaccepted };
            let stalled = self.stalled.get_or_insert_with(new);
            ready!(stalled.timer.as_mut().poll(cx));
            // The system continues a write only when much of its buffer is free again, which may take long on a slow
            // connection. So the test is whether any of it was accepted.
            if unaccepted >= stalled.unaccepted {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.stalled = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, data);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, data);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;

    use super::*;

    /// A socket that takes no more, and its other end.
    async fn full(clock: &Clock) -> (StallGuard<UnixStream>, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.writable().await.unwrap();
        let mut guard = StallGuard::new(near, clock.clone());
        while write(&mut guard).is_ready() {}
        (guard, far)
    }

    fn write(guard: &mut StallGuard<UnixStream>) -> Poll<io::Result<usize>> {
        Pin::new(guard).poll_write(&mut Context::from_waker(Waker::noop()), &[0; 1_024])
    }

    #[tokio::test]
    async fn a_write_that_nobody_accepts_fails() {
        let clock = Clock::manual(0);
        let (mut guard, _far) = full(&clock).await;
        clock.advance(WRITE_STALL - Duration::from_millis(1));
        assert!(write(&mut guard).is_pending());
        clock.advance(Duration::from_millis(1));
        let Poll::Ready(Err(error)) = write(&mut guard) else { panic!("it must fail") };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_reader_is_served() {
        let clock = Clock::manual(0);
        let (mut guard, mut far) = full(&clock).await;
        for _ in 0..5 {
            // Too little for the system to say that there is room.
            let mut part = [0; 1_024];
            far.read_exact(&mut part).await.unwrap();
            clock.advance(WRITE_STALL);
            assert!(write(&mut guard).is_pending());
        }
        clock.advance(WRITE_STALL);
        assert!(matches!(write(&mut guard), Poll::Ready(Err(_))), "nothing was read in the meantime");
    }
}
