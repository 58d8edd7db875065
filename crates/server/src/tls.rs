//! Certificates of listeners with `tls: true`: read from files, created if missing, reloaded on SIGHUP.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use plexus_base::Clock;
use plexus_base::config::Config;
use plexus_base::tls::CertificateTime;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read or holds no PEM of the right kind.
    #[error("cannot read the TLS file {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key are not a pair.
    #[error("the TLS key {key} does not fit the certificate {certificate}: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// Only one of the two options is set.
    #[error("{set} is set and {missing} is not; set both, or none to have a self-signed certificate made")]
    OneOption {
        /// The option that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The self-signed certificate cannot be written.
    #[error("cannot write the TLS file {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The self-signed certificate cannot be created for this name.
    #[error("cannot make a certificate for {name}: {source}")]
    Make {
        /// The server's name.
        name: String,
        /// The error of rcgen.
        source: rcgen::Error,
    },
}

const CERTIFICATE: &str = "tls_certificate_path";
const KEY: &str = "tls_private_key_path";

/// Returns the option of `config` that `error` is about.
pub fn option_of(error: &TlsError, config: &Config) -> &'static str {
    let certificate = Files::of(config).ok().map(|(Files::Named(file, _) | Files::SelfSigned(file, _))| file);
    match error {
        TlsError::Read { path, .. } | TlsError::Write { path, .. } if Some(path) == certificate.as_ref() => CERTIFICATE,
        TlsError::OneOption { set, .. } => set,
        _ => KEY,
    }
}

/// The files of the listeners' certificate.
#[derive(Debug)]
pub enum Files {
    /// The configuration names certificate and key.
    Named(PathBuf, PathBuf),
    /// The configuration names none: a self-signed certificate and its key are created here.
    SelfSigned(PathBuf, PathBuf),
}

impl Files {
    /// # Errors
    /// [`TlsError::OneOption`].
    pub fn of(config: &Config) -> Result<Self, TlsError> {
        match (&config.tls.tls_certificate_path, &config.tls.tls_private_key_path) {
            (Some(certificate), Some(key)) => Ok(Self::Named(certificate.clone(), key.clone())),
            (Some(_), None) => Err(TlsError::OneOption { set: CERTIFICATE, missing: KEY }),
            (None, Some(_)) => Err(TlsError::OneOption { set: KEY, missing: CERTIFICATE }),
            (None, None) => {
                let name = &config.server.server_name;
                let beside = |ending: &str| config.config_dir.join(format!("{name}.tls.{ending}"));
                Ok(Self::SelfSigned(beside("crt"), beside("key")))
            }
        }
    }
}

/// The certificate in use, and the files from which it is reloaded.
#[derive(Debug)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl Certificates {
    /// Reads the certificate (a PEM chain) and its key (PEM). Creates a self-signed pair for `server_name` if neither
    /// exists and the configuration names none.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn open(files: &Files, server_name: &str) -> Result<Arc<Self>, TlsError> {
        if let Files::SelfSigned(certificate, key) = files
            && !certificate.exists()
            && !key.exists()
        {
            make_self_signed(certificate, key, server_name)?;
            tracing::warn!(
                "made a self-signed certificate in {}: other servers and most clients will not accept it",
                certificate.display()
            );
        }
        let (Files::Named(certificate, key) | Files::SelfSigned(certificate, key)) = files;
        let current = load(certificate, key)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: ArcSwap::from_pointee(current),
        }))
    }

    /// Returns the path of the certificate.
    pub fn path(&self) -> &Path {
        &self.certificate
    }

    /// Reads the files again; on an error the certificate in use stays.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = load(&self.certificate, &self.key)?;
        self.current.store(Arc::new(fresh));
        Ok(())
    }

    /// Returns rustls's configuration for a listener: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When rustls refuses its own defaults.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let resolver = Arc::new(Resolver(Arc::clone(self)));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(CertificateTime(Clock::system())))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[derive(Debug)]
struct Resolver(Arc<Certificates>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load_full())
    }
}

/// Reads a certificate and its key.
///
/// # Errors
/// See [`TlsError`].
pub fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let read_error = |path: &Path, error: &dyn std::fmt::Display| TlsError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| read_error(certificate, &error))?;
    if chain.is_empty() {
        return Err(read_error(certificate, &"it holds no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| read_error(key, &error))?;
    CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider()).map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// Writes a new self-signed certificate for `server_name`, and its key.
///
/// # Errors
/// When a file exists or cannot be written.
pub fn make_self_signed(certificate: &Path, key: &Path, server_name: &str) -> Result<(), TlsError> {
    // A server name may carry a port, and an IPv6 literal brackets; a certificate knows neither.
    let name = plexus_protocol::id::ServerName::try_from(server_name)
        .map_or_else(|_| server_name.to_owned(), |name| name.host_port().0.to_owned());
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let (made, secret) = self_signed(&name).map_err(|source| TlsError::Make { name, source })?;
    write_new(key, &secret.serialize_pem(), 0o600)?;
    write_new(certificate, &made.pem(), 0o644)
}

fn self_signed(name: &str) -> Result<(rcgen::Certificate, rcgen::KeyPair), rcgen::Error> {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let secret = rcgen::KeyPair::generate()?;
    Ok((params.self_signed(&secret)?, secret))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| TlsError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_kept_and_reread() {
        let folder = std::env::temp_dir().join(format!("plexus-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        let files = Files::SelfSigned(certificate.clone(), key.clone());
        let open = || Certificates::open(&files, "example.com:8448");
        let used = |certificates: &Certificates| certificates.current.load().cert.clone();

        let certificates = open().unwrap();
        let first = used(&certificates);
        assert_eq!(used(&open().unwrap()), first, "what is there is kept");

        // A renewal whose key is not there yet must not take effect.
        let renewed = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap();
        fs::write(&certificate, renewed.cert.pem()).unwrap();
        assert!(matches!(certificates.reload(), Err(TlsError::Pair { .. })));
        assert_eq!(used(&certificates), first);

        fs::write(&key, renewed.signing_key.serialize_pem()).unwrap();
        certificates.reload().unwrap();
        assert_eq!(used(&certificates), [renewed.cert.der().clone()]);

        fs::remove_file(&key).unwrap();
        assert!(matches!(open(), Err(TlsError::Read { path, .. }) if path == key));
        fs::remove_dir_all(folder).unwrap();
    }
}
