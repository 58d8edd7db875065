//! Why a request is sent, and everything that follows from it.

use std::time::Duration;

use http::Method;

/// The most redirects that are followed where any are.
const MAX_REDIRECTS: usize = 10;

/// Why a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The operator's own command talks to the server named on the command line. Passwords are sent, so the certificate
    /// is verified unless nobody can be in between or the operator says so.
    OperatorCommand {
        /// Whether every certificate is accepted.
        any_certificate: bool,
    },
    /// A signed request to another server; each endpoint has its own limits.
    Federation(Limits),
    /// For the signing keys of other servers, which are needed before other responses are read on.
    SigningKeys(Limits),
    /// Where another server is to be found: `/.well-known/matrix/server`.
    WellKnown,
    /// Media that another server says lies elsewhere.
    RemoteMedia(Limits),
    /// Whether the key of a third-party invite has been revoked.
    KeyRevocation,
    /// A notification to a push gateway.
    PushGateway,
    /// A page that is previewed, or an image in it. The caller follows redirects: each URL is checked by
    /// `url_preview_url_blacklist`.
    UrlPreview(Limits),
    /// The statistics that an operator agreed to report.
    Statistics,
    /// Whether a captcha was solved.
    Captcha,
    /// Whether a ticket of a CAS server is valid.
    Cas,
    /// An OpenID Connect provider: its metadata, tokens and user information.
    OpenIdConnect,
    /// An identity server: lookups, and invites of third-party identifiers.
    IdentityServer,
    /// A transaction or a query to an application service.
    ApplicationService(Limits),
    /// A question to a policy hook.
    PolicyHook(Limits),
    /// Media that an S3 server stores for this one.
    MediaStorage(Limits),
    /// A connection to the operator's mail server, which is no HTTP.
    Mail,
}

/// How much of a response is waited for and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long to wait for the head of the response, and then again for its body.
    pub timeout: Duration,
    /// The largest body that is read, in bytes.
    pub max_response_bytes: usize,
}

/// What is decided about the requests of one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Which addresses may be connected to.
    pub(crate) addresses: Addresses,
    /// Which certificates are accepted.
    pub(crate) certificates: Certificates,
    /// Whether it goes through a forward proxy, if one is configured. The proxy decides then which addresses it
    /// connects to.
    pub(crate) may_use_proxy: bool,
    /// How many redirects are followed, never from https to http.
    pub(crate) max_redirects: usize,
    /// Whether a connection is kept for the next request.
    pub(crate) keeps_connections: bool,
    /// Whether the request waits until few others are under way.
    pub(crate) waits_its_turn: bool,
    /// Whether it may use the connections that are reserved for requests whose responses others wait for. Such a
    /// request waits for no other itself.
    pub(crate) uses_reserve: bool,
    pub(crate) limits: Limits,
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Addresses {
    /// All.
    Any,
    /// Those that `federation_ip_range_blacklist`, or else `ip_range_blacklist`, permits.
    Federation,
    /// Those that `url_preview_ip_range_blacklist` permits.
    Previews,
    /// Those that `ip_range_blacklist` permits.
    General,
}

/// Which certificates are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Certificates {
    /// All.
    Any,
    /// Those that `federation_verify_certificates` and the options beside it accept.
    Federation,
    /// Those from authorities that the system trusts.
    System,
}

impl Purpose {
    /// Whether a request may be carried out twice. Then it may use an idle connection, which can turn out to be broken.
    pub(crate) fn may_repeat(self, method: &Method) -> bool {
        // A notification without a response is sent again in any case, and a question can be asked twice.
        method.is_idempotent() || matches!(self, Self::PushGateway | Self::PolicyHook(_))
    }

    /// The table: one row for each purpose.
    pub(crate) const fn policy(self) -> Policy {
        const FEDERATION: Policy = Policy {
            addresses: Addresses::Federation,
            certificates: Certificates::Federation,
            may_use_proxy: true,
            max_redirects: 0,
            keeps_connections: false,
            waits_its_turn: true,
            uses_reserve: false,
            limits: limits(60, 64 * 1024),
        };
        const ELSEWHERE: Policy =
            Policy { addresses: Addresses::General, certificates: Certificates::System, ..FEDERATION };
        match self {
            Self::OperatorCommand { any_certificate } => Policy {
                addresses: Addresses::Any,
                certificates: if any_certificate { Certificates::Any } else { Certificates::System },
                may_use_proxy: false,
                waits_its_turn: false,
                limits: limits(60, 16 * 1024 * 1024),
                ..FEDERATION
            },
            Self::Federation(limits) => Policy { keeps_connections: true, limits, ..FEDERATION },
            Self::SigningKeys(limits) => Policy { keeps_connections: true, uses_reserve: true, limits, ..FEDERATION },
            Self::WellKnown => {
                Policy { max_redirects: MAX_REDIRECTS, uses_reserve: true, limits: limits(15, 50 * 1024), ..FEDERATION }
            }
            Self::RemoteMedia(limits) => Policy { max_redirects: MAX_REDIRECTS, limits, ..FEDERATION },
            Self::KeyRevocation => Policy { max_redirects: MAX_REDIRECTS, limits: limits(10, 64 * 1024), ..ELSEWHERE },
            Self::PushGateway => Policy { keeps_connections: true, limits: limits(30, 64 * 1024), ..ELSEWHERE },
            Self::UrlPreview(limits) => Policy { addresses: Addresses::Previews, limits, ..ELSEWHERE },
            Self::Statistics | Self::Captcha => Policy { limits: limits(30, 64 * 1024), ..ELSEWHERE },
            Self::Cas => Policy { limits: limits(30, 1024 * 1024), ..ELSEWHERE },
            Self::OpenIdConnect => {
                Policy { max_redirects: MAX_REDIRECTS, limits: limits(30, 1024 * 1024), ..ELSEWHERE }
            }
            Self::IdentityServer => Policy {
                may_use_proxy: false,
                max_redirects: MAX_REDIRECTS,
                limits: limits(10, 1024 * 1024),
                ..ELSEWHERE
            },
            // Usually on this machine or in a private network; its operator is ours.
            Self::ApplicationService(limits) | Self::PolicyHook(limits) => Policy {
                addresses: Addresses::Any,
                may_use_proxy: false,
                keeps_connections: true,
                // A service that hangs must not hold up requests to other servers. Their number is bounded elsewhere.
                waits_its_turn: false,
                limits,
                ..ELSEWHERE
            },
            // Often in a private network; the operator has named it.
            Self::MediaStorage(limits) => {
                Policy { addresses: Addresses::Any, keeps_connections: true, limits, ..ELSEWHERE }
            }
            // The operator has named it, often on this machine. How many mails are sent at once is bounded elsewhere.
            Self::Mail => {
                Policy { addresses: Addresses::Any, may_use_proxy: false, waits_its_turn: false, ..ELSEWHERE }
            }
        }
    }
}

const fn limits(seconds: u64, max_response_bytes: usize) -> Limits {
    Limits { timeout: Duration::from_secs(seconds), max_response_bytes }
}
