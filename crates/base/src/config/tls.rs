use std::path::PathBuf;

use crate::schema::{choice, options};

options! {
    /// Certificates of this server, and verification of others.
    pub struct TlsSection {
        /// The file with this server's certificate chain, in PEM format.
        acts tls_certificate_path: Option<PathBuf>,
        /// The file with the certificate's private key, in PEM format.
        acts tls_private_key_path: Option<PathBuf>,
        /// Whether the certificates of other servers are verified.
        acts federation_verify_certificates: bool = true,
        /// The oldest TLS version for requests to other servers; versions before 1.2 are never used here.
        acts federation_client_minimum_tls_version: TlsVersion = TlsVersion::V1,
        /// Servers whose certificates are not verified; `*` matches any text.
        acts federation_certificate_verification_whitelist: Vec<String>,
        /// Files with the authorities for other servers' certificates, instead of the system's.
        acts federation_custom_ca_list: Vec<PathBuf>,
    }
}

choice! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.0.
        V1 = "1",
        /// TLS 1.0 too.
        V10 = "1.0",
        /// TLS 1.1.
        V11 = "1.1",
        /// TLS 1.2.
        V12 = "1.2",
        /// TLS 1.3.
        V13 = "1.3",
    }
}
