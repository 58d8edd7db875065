//! What requests are sent over: a TCP connection, TLS, or a tunnel through a proxy.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to read from and write to.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection of any kind.
pub(crate) type BoxedStream = Box<dyn Stream>;
