//! TLS as a client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plexus_base::Clock;
use plexus_base::tls::{CertificateTime, CertificateVerifier};
use plexus_protocol::glob::Pattern;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::purpose::Certificates;
use crate::http::stream::BoxedStream;

/// How other servers' certificates are checked.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Whether certificates are checked at all.
    pub verify: bool,
    /// Globs of the hosts whose certificates are not checked.
    pub unverified_hosts: Vec<String>,
    /// Whether TLS 1.2 is refused; older versions are never spoken.
    pub only_tls_1_3: bool,
    /// PEM files of the authorities that are trusted; empty: the system's.
    pub authorities: Vec<PathBuf>,
    /// Whether every certificate is accepted, whatever a connection is for:
    /// `use_insecure_ssl_client_just_for_testing_do_not_use`.
    pub accept_any: bool,
}

impl TlsSettings {
    /// Whether connections can be made with these settings.
    ///
    /// # Errors
    /// What is wrong with a file of authorities.
    pub fn check(&self) -> Result<(), TlsSetupError> {
        Tls::new(self, Clock::system()).map(drop)
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file of `federation_custom_ca_list`.
    #[error("federation_custom_ca_list: {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The reason.
        error: rustls::pki_types::pem::Error,
    },
    /// A certificate in such a file.
    #[error("federation_custom_ca_list: {path} holds a certificate that cannot be used: {error}")]
    Certificate {
        /// The file.
        path: String,
        /// The reason.
        error: rustls::Error,
    },
    /// A file of `federation_custom_ca_list` without one.
    #[error("federation_custom_ca_list: {0} holds no certificate")]
    NoCertificate(String),
    /// rustls refuses.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
static NEW: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// Encrypts connections to other servers.
pub(crate) struct Tls {
    /// `None`: the system's authorities are trusted; reading them takes a while, so it waits for the first connection.
    verified: Option<Arc<ClientConfig>>,
    system: OnceCell<Arc<ClientConfig>>,
    unverified: Arc<ClientConfig>,
    verify: bool,
    accept_any: bool,
    unverified_hosts: Vec<Pattern>,
    versions: &'static [&'static SupportedProtocolVersion],
    clock: Clock,
}

impl Tls {
    pub(crate) fn new(settings: &TlsSettings, clock: Clock) -> Result<Self, TlsSetupError> {
        let versions = if settings.only_tls_1_3 { NEWEST } else { NEW };
        let verified = match settings.authorities.as_slice() {
            [] => None,
            files => Some(verified(authorities(files)?, versions, &clock)?),
        };
        Ok(Self {
            verified,
            system: OnceCell::new(),
            unverified: unverified(versions, &clock)?,
            verify: settings.verify,
            accept_any: settings.accept_any,
            unverified_hosts: settings.unverified_hosts.iter().map(|glob| Pattern::whole(glob)).collect(),
            versions,
            clock,
        })
    }

    /// Encrypts `stream`. The other side must show a certificate for `host`: a name, or an address without brackets,
    /// which is then not sent as SNI (RFC 6066, section 3).
    pub(super) async fn connect(
        &self,
        certificates: Certificates,
        host: &str,
        stream: BoxedStream,
    ) -> io::Result<TlsStream<BoxedStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let exempt = || self.unverified_hosts.iter().any(|pattern| pattern.matches(host));
        let is_verified = match certificates {
            _ if self.accept_any => false,
            Certificates::Any => false,
            Certificates::Federation => self.verify && !exempt(),
            Certificates::System => true,
        };
        let config = match &self.verified {
            _ if !is_verified => Arc::clone(&self.unverified),
            Some(verified) if certificates == Certificates::Federation => Arc::clone(verified),
            _ => self.system().await?,
        };
        TlsConnector::from(config).connect(name, stream).await
    }

    async fn system(&self) -> io::Result<Arc<ClientConfig>> {
        let read = || async move {
            let roots = tokio::task::spawn_blocking(system_authorities).await??;
            verified(roots, self.versions, &self.clock).map_err(io::Error::other)
        };
        self.system.get_or_try_init(read).await.cloned()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn verified(
    authorities: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
    clock: &Clock,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let time = Arc::new(CertificateTime(clock.clone()));
    let builder = ClientConfig::builder_with_details(provider(), time).with_protocol_versions(versions)?;
    Ok(Arc::new(builder.with_root_certificates(authorities).with_no_client_auth()))
}

fn unverified(
    versions: &[&'static SupportedProtocolVersion],
    clock: &Clock,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let config = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(CertificateTime(clock.clone())))
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(CertificateVerifier::accepting_any(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn authorities(files: &[PathBuf]) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for file in files {
        let path = || file.display().to_string();
        let found = certificates(file).map_err(|error| TlsSetupError::File { path: path(), error })?;
        if found.is_empty() {
            return Err(TlsSetupError::NoCertificate(path()));
        }
        for certificate in found {
            roots.add(certificate).map_err(|error| TlsSetupError::Certificate { path: path(), error })?;
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(file)?.collect()
}

/// Fails when there are none, so that they are read again for the next connection.
fn system_authorities() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("a certificate authority of the system cannot be read: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::error!(
            "the system has no certificate authorities: no other server can be reached; install them \
             (ca-certificates) or set federation_custom_ca_list"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, "the system has no certificate authorities"));
    }
    Ok(roots)
}
