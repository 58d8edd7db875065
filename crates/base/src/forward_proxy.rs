//! Forward proxies: how they are named in `homeserver.yaml` and the environment, and what is reached without them.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use crate::schema::{IpRange, Reader, Value};
use crate::yaml::Node;

/// The port of a proxy that names none, as in Synapse.
const DEFAULT_PORT: u16 = 1080;

/// Which proxies requests go through. The owner is the configuration: it does not change while the server runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardProxies {
    /// For targets with http.
    pub http: Option<ProxyUrl>,
    /// For targets with https.
    pub https: Option<ProxyUrl>,
    /// What is reached without them.
    pub no_proxy: NoProxy,
}

/// Why a variable of the environment cannot be used. Its value, which may hold a password, is not part of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name}: {problem}")]
pub struct EnvironmentError {
    /// The name as it is written in the environment.
    pub name: String,
    /// What is wrong.
    pub problem: ProxyError,
}

/// The environment's variables about proxies. Their names count in any case, those in lower case first, as in Synapse.
#[derive(Debug)]
pub struct ProxyVariables(Vec<(String, OsString)>);

impl ProxyVariables {
    /// Picks them out of all variables.
    pub fn of(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let named = environment.into_iter().filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value)));
        let mut found: Vec<_> = named.filter(|(name, _)| name.to_ascii_lowercase().ends_with("_proxy")).collect();
        // Lower case comes last in ASCII.
        found.sort_by(|(left, _), (right, _)| right.cmp(left));
        Self(found)
    }

    /// Returns the proxy that the variable `name` names.
    ///
    /// # Errors
    /// When it names something else. An empty variable names none.
    pub fn proxy(&self, name: &str) -> Result<Option<ProxyOption>, EnvironmentError> {
        self.read(name, |text| ProxyUrl::parse(text).map(ProxyOption::Through))
    }

    /// Returns what the variable `no_proxy` lists.
    ///
    /// # Errors
    /// When an entry is none.
    pub fn no_proxy(&self) -> Result<Option<Vec<ProxyException>>, EnvironmentError> {
        self.read("no_proxy", ProxyException::parse_list)
    }

    fn read<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, ProxyError>,
    ) -> Result<Option<T>, EnvironmentError> {
        let Some((name, value)) = self.0.iter().find(|(written, _)| written.eq_ignore_ascii_case(name)) else {
            return Ok(None);
        };
        if value.is_empty() {
            return Ok(None);
        }
        let parsed = value.to_str().ok_or(ProxyError::NotUnicode).and_then(parse);
        parsed.map(Some).map_err(|problem| EnvironmentError { name: name.clone(), problem })
    }
}

/// Whether requests go through a proxy, as `http_proxy` and `https_proxy` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyOption {
    /// The option is empty: through none, whatever the environment says.
    Direct,
    /// Through this one.
    Through(ProxyUrl),
}

impl Value for ProxyOption {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node.as_text() {
            Some("") => Some(Self::Direct),
            // The text itself may hold a password, and is not shown.
            Some(text) => match ProxyUrl::parse(text) {
                Ok(url) => Some(Self::Through(url)),
                Err(problem) => {
                    reader.error(node.place, "", problem.to_string());
                    None
                }
            },
            None => reader.wrong(node, &Self::kind()),
        }
    }

    fn kind() -> String {
        "address of a proxy: [http:// or https://][user:password@]host[:port]".to_owned()
    }
}

/// How the proxy itself is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    /// In the clear.
    Http,
    /// Encrypted.
    Https,
}

/// The address of a proxy: `[scheme://][user:password@]host[:port]`. `Display` and `Debug` hide the credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    scheme: ProxyScheme,
    /// A name in lower case, or an address without brackets.
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

/// A user's name and password, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: Vec<u8>,
    /// The password; empty if there is none.
    pub password: Vec<u8>,
}

/// Why the address of a proxy, or a list of exceptions, cannot be used. The messages hold no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The scheme is another than http and https.
    #[error(
        "only proxies with http:// and https:// are supported, not {0}://; a SOCKS proxy needs an HTTP proxy, such as \
         Privoxy, in front of it"
    )]
    Scheme(String),
    /// There is no host, or it is not one.
    #[error("it names no host; a proxy is written [http:// or https://][user:password@]host[:port]")]
    Host,
    /// The port is not a number.
    #[error(
        "the port of the proxy must be a number from 1 to 65535; a password with one of @ : / ? # is percent-encoded"
    )]
    Port,
    /// The user's name holds a colon, which Basic authentication has no way to say.
    #[error("the user name of the proxy holds a colon")]
    User,
    /// An exception is neither host nor address nor range.
    #[error("{0:?} is neither a host, nor an address, nor a range such as 10.0.0.0/8")]
    Exception(String),
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotUnicode,
}

impl ProxyUrl {
    /// Reads the address of a proxy.
    ///
    /// # Errors
    /// See [`ProxyError`].
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            None => (ProxyScheme::Http, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (ProxyScheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (ProxyScheme::Https, rest),
            Some((scheme, _)) if is_scheme(scheme) => return Err(ProxyError::Scheme(scheme.to_ascii_lowercase())),
            Some(_) => return Err(ProxyError::Host),
        };
        // The authority ends where the path begins (RFC 3986, section 3.2).
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Credentials::parse(credentials)?, place),
            None => (None, authority),
        };
        let (host, port) = host_port(place).ok_or(ProxyError::Host)?;
        let port = match port {
            None | Some("") => DEFAULT_PORT,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0).ok_or(ProxyError::Port)?
            }
            Some(_) => return Err(ProxyError::Port),
        };
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port, credentials })
    }

    /// How the proxy itself is spoken to.
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// Its host: a name in lower case, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it asks its users for.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            ProxyScheme::Http => "http",
            ProxyScheme::Https => "https",
        };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Credentials {
    /// Reads `user:password`, percent-encoded; `None` if both are empty.
    fn parse(text: &str) -> Result<Option<Self>, ProxyError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let (user, password) = (decode(user), decode(password));
        if user.contains(&b':') {
            return Err(ProxyError::User);
        }
        Ok((!user.is_empty() || !password.is_empty()).then_some(Self { user, password }))
    }
}

/// What is reached without a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<ProxyException>);

impl NoProxy {
    /// Whether `host` (a name, or an address without brackets) is reached without a proxy at `port`. Names are not
    /// looked up: ranges of addresses match only hosts that are written as addresses.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        self.0.iter().any(|exception| exception.matches(&host, address, port))
    }
}

impl From<Vec<ProxyException>> for NoProxy {
    fn from(exceptions: Vec<ProxyException>) -> Self {
        Self(exceptions)
    }
}

/// Hosts that are reached without a proxy: a name and its subdomains, an address or a range of addresses, each at one
/// port or all; or every host (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyException {
    hosts: Hosts,
    /// All ports if `None`.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name in lower case, without a dot at either end, and its subdomains.
    Domain(String),
    Range(IpRange),
}

impl ProxyException {
    /// Reads one entry.
    ///
    /// # Errors
    /// When it names neither hosts nor addresses.
    pub fn parse(entry: &str) -> Result<Self, ProxyError> {
        Self::read_entry(entry.trim()).ok_or_else(|| ProxyError::Exception(entry.to_owned()))
    }

    /// Reads a list with commas between its entries, as in the environment. Empty entries count for nothing.
    ///
    /// # Errors
    /// The first entry that is none.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, ProxyError> {
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(Self::parse).collect()
    }

    fn read_entry(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some(range) = IpRange::parse(entry) {
            return Some(Self { hosts: Hosts::Range(range), port: None });
        }
        // `.example.com` and `*.example.com` are usual, and mean the same as `example.com` in Synapse.
        let name = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
        let (host, port) = host_port(name.strip_prefix('.').unwrap_or(name))?;
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
            None => None,
        };
        let hosts = match IpRange::parse(host) {
            Some(range) => Hosts::Range(range),
            None => Hosts::Domain(host.trim_end_matches('.').to_ascii_lowercase()),
        };
        Some(Self { hosts, port })
    }

    /// `host` is in lower case, and `address` what it is if it is one.
    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let has_host = match &self.hosts {
            Hosts::All => true,
            Hosts::Domain(name) => {
                let before = host.strip_suffix(name.as_str());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            Hosts::Range(range) => address.is_some_and(|address| range.contains(address)),
        };
        has_host && self.port.is_none_or(|own| own == port)
    }
}

impl Value for ProxyException {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let parsed = node.as_text().and_then(|text| Self::parse(text).ok());
        parsed.or_else(|| reader.wrong(node, &format!("a {}", Self::kind())))
    }

    fn kind() -> String {
        "host, address or range such as 10.0.0.0/8".to_owned()
    }
}

/// Takes `host`, `host:port`, `[address]` or `[address]:port` apart.
fn host_port(place: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = place.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    let (host, port) = match place.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let named = host.bytes().any(|byte| byte != b'.') && host.bytes().all(is_host);
    named.then_some((host, port))
}

/// Whether `text` is the scheme of a URL (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests;
