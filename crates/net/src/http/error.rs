//! Why a request has no response.

use std::time::Duration;

use crate::http::causes::Causes;
use crate::http::dial::DialError;
use crate::http::proxy_fault::ProxyFault;
use crate::http::tls::TlsSetupError;

/// Why there is no response, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came was not HTTP.
    #[error("the request failed: {}", Causes(.0))]
    Broken(#[from] hyper::Error),
    /// The response, or all of it, did not come in time.
    #[error("no response in time")]
    Timeout,
    /// The body is larger than it may be.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// A redirect that is not followed.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// There were too many before it.
    #[error("more than {0} redirects")]
    TooMany(usize),
    /// It has no usable location.
    #[error("a redirect to nowhere")]
    NoLocation,
    /// It leads from https to http.
    #[error("a redirect out of https")]
    Downgrade,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The network.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The TLS handshake failed.
    #[error("TLS with {host} failed: {source}{}", in_plain_words(source))]
    Tls {
        /// The host.
        host: String,
        /// The reason that rustls states.
        source: std::io::Error,
    },
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up: {0}")]
    TlsSetup(#[from] TlsSetupError),
    /// A forward proxy is in the way.
    #[error("the proxy {proxy} fails: {fault}")]
    Proxy {
        /// Its address, without credentials.
        proxy: String,
        /// What is wrong with it.
        fault: ProxyFault,
        /// For how long nothing is sent through it, if the fault is not about one target only.
        left_alone_for: Option<Duration>,
    },
    /// The HTTP handshake failed.
    #[error("the HTTP handshake failed: {}", Causes(.0))]
    Http(#[from] hyper::Error),
    /// It is not a URL that requests are sent to.
    #[error("{0} is not an http:// or https:// address")]
    Address(String),
}

/// Returns what the most frequent faults of certificates mean, to follow the reason that rustls states.
fn in_plain_words(tls_error: &std::io::Error) -> &'static str {
    let reason = tls_error.to_string();
    if reason.contains("CaUsedAsEndEntity") {
        " (the certificate is an authority's own, which cannot be a server's)"
    } else if reason.contains("UnknownIssuer") {
        " (nobody trusted here has signed the certificate, or an intermediate certificate is missing)"
    } else {
        ""
    }
}

impl ConnectError {
    /// Whether a forward proxy is to blame, and not the target.
    pub fn is_of_proxy(&self) -> bool {
        match self {
            Self::Proxy { left_alone_for: Some(_), .. } => true,
            Self::Proxy { fault, .. } => !fault.is_about_target(),
            _ => false,
        }
    }

    /// Whether a forward proxy is out of order, and has not merely refused this target.
    pub(crate) fn is_of_broken_proxy(&self) -> bool {
        self.is_of_proxy() && !matches!(self, Self::Proxy { fault: ProxyFault::Refused { .. }, .. })
    }
}
