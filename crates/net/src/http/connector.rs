//! Opens connections for a purpose.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::dns::Resolve;
use crate::http::dial::Dialer;
use crate::http::error::ConnectError;
use crate::http::purpose::Purpose;
use crate::http::tls::Tls;

/// Opens connections.
pub(crate) struct Connector {
    dialer: Dialer,
    tls: Tls,
}

impl Connector {
    pub(super) fn new(dialer: Dialer, tls: Tls) -> Self {
        Self { dialer, tls }
    }

    pub(crate) fn names(&self) -> &dyn Resolve {
        self.dialer.names()
    }

    /// Connects to `host` (a name, or an address without brackets).
    pub(crate) async fn encrypted(
        &self,
        purpose: Purpose,
        host: &str,
        port: u16,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let stream = self.plain(purpose, host, port).await?;
        self.encrypt(purpose, host, stream).await
    }

    /// Connects to `host` (a name, or an address without brackets), in the clear.
    pub(crate) async fn plain(&self, purpose: Purpose, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        Ok(self.dialer.dial(purpose.policy().addresses, host, port).await?)
    }

    /// Encrypts a connection. The other side must show a certificate for `host`.
    pub(crate) async fn encrypt(
        &self,
        purpose: Purpose,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let encrypted = self.tls.connect(purpose.policy().certificates, host, stream).await;
        encrypted.map_err(|source| ConnectError::Tls { host: host.to_owned(), source })
    }
}
