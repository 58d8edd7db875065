//! Verification of a TLS server's certificate, with adjustable strictness.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::Clock;

/// The time at which certificates are verified, by the program's clock. rustls's own panics while the system's clock is
/// set to a time before 1970.
#[derive(Debug)]
pub struct CertificateTime(pub Clock);

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now_ms())))
    }
}

/// Verifies certificates with the configured strictness, and always that the server has the certificate's key.
#[derive(Debug)]
pub struct CertificateVerifier {
    provider: Arc<CryptoProvider>,
    /// `None`: any certificate is accepted.
    chain: Option<Arc<WebPkiServerVerifier>>,
    check_host: bool,
}

impl CertificateVerifier {
    /// Returns a verifier that accepts any certificate.
    #[must_use]
    pub fn accepting_any(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, chain: None, check_host: false }
    }

    /// Returns a verifier that accepts certificates issued by one of `authorities`: for any host, or if `check_host`,
    /// for the host of the connection.
    ///
    /// # Errors
    /// When there are no authorities.
    pub fn with_authorities(
        provider: Arc<CryptoProvider>,
        authorities: RootCertStore,
        check_host: bool,
    ) -> Result<Self, VerifierBuilderError> {
        let chain =
            WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider)).build()?;
        Ok(Self { provider, chain: Some(chain), check_host })
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is verified last: a certificate that fails only there has a valid chain.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_host => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
