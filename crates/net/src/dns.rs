//! Looks up the addresses of hosts, and the hosts of services.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;

/// How many records are cached.
const CACHE_CAPACITY: u64 = 4096;
/// The longest that a record is cached.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The longest that the absence of a name is cached.
const MAX_ABSENT_LIFETIME: Duration = Duration::from_secs(600);
/// How long to wait for one name server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a lookup failed. A name that does not exist is no error: its lookup returns nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DnsError(pub String);

/// A lookup under way.
pub type Lookup<'a, T> = Pin<Box<dyn Future<Output = Result<T, DnsError>> + Send + 'a>>;

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Lower is tried first.
    pub priority: u16,
    /// Among equal priorities, how often this one comes first.
    pub weight: u16,
    /// Where the service listens.
    pub port: u16,
    /// The host, without a dot at the end; empty where the service is said not to exist.
    pub target: String,
}

/// Looks names up.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, each with `port`; none when the host does not exist.
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a, Vec<SocketAddr>>;

    /// The SRV records of `name`, in no order; none when there are none.
    fn services<'a>(&'a self, name: &'a str) -> Lookup<'a, Vec<Service>>;
}

/// The name servers of /etc/resolv.conf and the names in /etc/hosts, read at the first lookup.
#[derive(Default)]
pub struct SystemNames(OnceLock<Result<TokioResolver, DnsError>>);

impl SystemNames {
    fn resolver(&self) -> Result<&TokioResolver, DnsError> {
        self.0.get_or_init(|| build().map_err(|error| DnsError(error.to_string()))).as_ref().map_err(Clone::clone)
    }
}

fn build() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = CACHE_CAPACITY;
    options.timeout = TIMEOUT;
    options.positive_max_ttl = Some(MAX_LIFETIME);
    options.negative_max_ttl = Some(MAX_ABSENT_LIFETIME);
    builder.build()
}

impl Resolve for SystemNames {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            let found = existing(self.resolver()?.lookup_ip(host).await)?;
            Ok(found.map(|found| found.iter().map(|ip| SocketAddr::new(ip, port)).collect()).unwrap_or_default())
        })
    }

    fn services<'a>(&'a self, name: &'a str) -> Lookup<'a, Vec<Service>> {
        Box::pin(async move {
            // The dot keeps the resolver from trying the name below the search domains.
            let found = existing(self.resolver()?.srv_lookup(format!("{name}.")).await)?;
            let services = found.iter().flat_map(|found| found.answers()).filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(Service {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                }),
                _ => None,
            });
            Ok(services.collect())
        })
    }
}

fn existing<T>(answer: Result<T, NetError>) -> Result<Option<T>, DnsError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_no_records_found() => Ok(None),
        Err(error) => Err(DnsError(error.to_string())),
    }
}

/// The system's own lookup (nsswitch.conf), for the operator's commands; it knows no SRV records.
pub(crate) struct SystemLookup;

impl Resolve for SystemLookup {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, port)).await;
            found.map(Iterator::collect).map_err(|error| DnsError(error.to_string()))
        })
    }

    fn services<'a>(&'a self, _name: &'a str) -> Lookup<'a, Vec<Service>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
