//! Encrypted connections to PostgreSQL with rustls: libpq's `sslmode` and its certificate files.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use plexus_base::Clock;
use plexus_base::tls::{CertificateTime, CertificateVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server offers it (also the meaning of `allow`). The certificate is not verified.
    #[default]
    Prefer,
    /// Always encrypted. The certificate is verified only if there is an `sslrootcert`, as in libpq.
    Require,
    /// Always encrypted, and the certificate must be issued by one of `sslrootcert`.
    VerifyCa,
    /// Like `VerifyCa`, and the certificate must be for this host.
    VerifyFull,
}

/// How a connection is encrypted.
#[derive(Clone, Debug, Default)]
pub struct SslOptions {
    /// Whether to encrypt, and what to verify.
    pub mode: SslMode,
    /// `sslrootcert`: a PEM file with the trusted certificates.
    pub root: Option<PathBuf>,
    /// `sslcert` and `sslkey`: PEM files with the client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Why encryption cannot be configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{path}: {error}")]
    File { path: String, error: rustls::pki_types::pem::Error },
    #[error("sslmode verify-ca and verify-full need sslrootcert")]
    NoRoot,
    #[error(transparent)]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Makes the encrypted connections of the driver.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    pub(super) fn new(options: &SslOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verifier(options, Arc::clone(&provider))?;
        let builder = ClientConfig::builder_with_details(provider, Arc::new(CertificateTime(Clock::system())))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &options.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, error))?;
                builder.with_client_auth_cert(certificates(cert)?, key)?
            }
        };
        Ok(Self(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| file_error(path, error))
}

fn file_error(path: &Path, error: rustls::pki_types::pem::Error) -> TlsError {
    TlsError::File { path: path.display().to_string(), error }
}

/// Returns the verifier of the server's certificate for this `sslmode`.
fn verifier(options: &SslOptions, provider: Arc<CryptoProvider>) -> Result<CertificateVerifier, TlsError> {
    let must_verify = matches!(options.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    match &options.root {
        None if must_verify => Err(TlsError::NoRoot),
        Some(root) if must_verify || options.mode == SslMode::Require => {
            let mut authorities = RootCertStore::empty();
            for certificate in certificates(root)? {
                authorities.add(certificate)?;
            }
            let check_host = options.mode == SslMode::VerifyFull;
            Ok(CertificateVerifier::with_authorities(provider, authorities, check_host)?)
        }
        _ => Ok(CertificateVerifier::accepting_any(provider)),
    }
}

/// The handshake of one connection.
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

type Handshake = Pin<Box<dyn Future<Output = std::io::Result<Stream>> + Send>>;

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Connector;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connector, Self::Error> {
        // A Unix socket has no host name, and is never encrypted.
        let host = if host.is_empty() || host.starts_with('/') { "localhost" } else { host };
        let server = ServerName::try_from(host.to_owned())?;
        Ok(Connector { config: Arc::clone(&self.0), server })
    }
}

impl TlsConnect<Socket> for Connector {
    type Stream = Stream;
    type Error = std::io::Error;
    type Future = Handshake;

    fn connect(self, socket: Socket) -> Handshake {
        let handshake = tokio_rustls::TlsConnector::from(self.config).connect(self.server, socket);
        Box::pin(async move { Ok(Stream(Box::new(handshake.await?))) })
    }
}

/// An encrypted connection.
pub(super) struct Stream(Box<tokio_rustls::client::TlsStream<Socket>>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
