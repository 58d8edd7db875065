//! Opens connections for a purpose.

use std::sync::Arc;

use tokio_rustls::client::TlsStream;

use crate::dns::Resolve;
use crate::http::dial::Dialer;
use crate::http::error::ConnectError;
use crate::http::proxy::{Proxies, Proxy};
use crate::http::purpose::Purpose;
use crate::http::stream::BoxedStream;
use crate::http::target::Target;
use crate::http::tls::Tls;

/// Opens connections, through the forward proxies where the purpose permits.
pub(crate) struct Connector {
    dialer: Dialer,
    tls: Tls,
    proxies: Proxies,
}

impl Connector {
    pub(super) fn new(dialer: Dialer, tls: Tls, proxies: Proxies) -> Self {
        Self { dialer, tls, proxies }
    }

    pub(crate) fn names(&self) -> &dyn Resolve {
        self.dialer.names()
    }

    /// Returns the proxy that connections to the target go through; `None` if they go there directly. The proxy looks
    /// names up and decides where they may lead; addresses are checked here, in either case.
    pub(crate) fn proxy(
        &self,
        purpose: Purpose,
        is_encrypted: bool,
        target: Target<'_>,
    ) -> Result<Option<&Arc<Proxy>>, ConnectError> {
        let Target { host, port, name } = target;
        if !purpose.policy().may_use_proxy {
            return Ok(None);
        }
        let proxy = self.proxies.for_target(is_encrypted, host, port, name);
        if let Some(proxy) = proxy {
            proxy.check_host(host)?;
            self.dialer.check_literal(purpose.policy().addresses, host)?;
        }
        Ok(proxy)
    }

    /// Connects to the target, through a tunnel if it is reached through a proxy.
    pub(crate) async fn encrypted(
        &self,
        purpose: Purpose,
        target: Target<'_>,
    ) -> Result<TlsStream<BoxedStream>, ConnectError> {
        let Target { host, port, name } = target;
        let stream = match self.proxy(purpose, true, target)? {
            Some(proxy) => {
                let timeout = purpose.policy().limits.timeout;
                proxy.tunnel(&self.dialer, &self.tls, target, timeout).await?
            }
            None => self.plain(purpose, host, port).await?,
        };
        self.begin_tls(purpose, name, stream).await
    }

    /// Encrypts a connection that is open; the other side must show a certificate for `name`.
    pub(crate) async fn encrypt(
        &self,
        purpose: Purpose,
        name: &str,
        stream: BoxedStream,
    ) -> Result<BoxedStream, ConnectError> {
        Ok(Box::new(self.begin_tls(purpose, name, stream).await?))
    }

    async fn begin_tls(
        &self,
        purpose: Purpose,
        name: &str,
        stream: BoxedStream,
    ) -> Result<TlsStream<BoxedStream>, ConnectError> {
        let encrypted = self.tls.connect(purpose.policy().certificates, name, stream).await;
        encrypted.map_err(|source| ConnectError::Tls { host: name.to_owned(), source })
    }

    /// Connects to `host` (a name, or an address without brackets), in the clear.
    pub(crate) async fn plain(&self, purpose: Purpose, host: &str, port: u16) -> Result<BoxedStream, ConnectError> {
        Ok(Box::new(self.dialer.dial(purpose.policy().addresses, host, port).await?))
    }

    /// Connects to a proxy that is to pass on requests.
    pub(super) async fn to_proxy(&self, proxy: &Proxy) -> Result<BoxedStream, ConnectError> {
        proxy.connect(&self.dialer, &self.tls).await
    }
}
