//! Looks up the addresses of hosts, and the hosts of services.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use parking_lot::Mutex;

/// How many records are cached.
const CACHE_CAPACITY: u64 = 4096;
/// The longest that a record is cached.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The longest that the absence of a name is cached.
const MAX_ABSENT_LIFETIME: Duration = Duration::from_secs(600);
/// How long to wait for one name server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the system's resolver is configured with.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

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
    /// Returns the addresses of `host`, each with `port`; none when the host does not exist. A name that ends with a
    /// dot is not looked up below the system's search domains.
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a, Vec<SocketAddr>>;

    /// The SRV records of `name`, in no order; none when there are none.
    fn services<'a>(&'a self, name: &'a str) -> Lookup<'a, Vec<Service>>;
}

/// The name servers of /etc/resolv.conf and the names in /etc/hosts, read at the first lookup and when they change.
#[derive(Default)]
pub struct SystemNames(Mutex<Built<TokioResolver>>);

/// When each of [`SYSTEM_FILES`] was changed; `None` for one that is not there.
type Changed = [Option<SystemTime>; 2];

/// What was built from files, and when they were changed.
struct Built<T>(Option<(T, Changed)>);

impl<T> Default for Built<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Built<T> {
    /// Returns what was built, from the present files if that is possible.
    fn get<E>(&mut self, changed: Changed, build: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if let Some((built, of)) = &self.0
            && *of == changed
        {
            return Ok(built.clone());
        }
        match (build(), &self.0) {
            (Ok(built), _) => {
                self.0 = Some((built.clone(), changed));
                Ok(built)
            }
            (Err(_), Some((built, _))) => Ok(built.clone()),
            (Err(error), None) => Err(error),
        }
    }
}

impl SystemNames {
    fn resolver(&self) -> Result<TokioResolver, DnsError> {
        let changed = SYSTEM_FILES.map(|file| Path::new(file).metadata().and_then(|metadata| metadata.modified()).ok());
        self.0.lock().get(changed, build).map_err(|error| DnsError(error.to_string()))
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
        Err(NetError::NoConnections) => Err(DnsError("no DNS server answered".to_owned())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_built_is_built_later_and_again_when_the_files_change() {
        let mut built = Built::default();
        let at = |seconds| [Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), None];
        assert_eq!(built.get([None, None], || Err("no file")), Err("no file"));
        assert_eq!(built.get([None, None], || Ok::<_, &str>(1)), Ok(1));
        assert_eq!(built.get([None, None], || Ok::<_, &str>(2)), Ok(1));
        assert_eq!(built.get(at(5), || Ok::<_, &str>(3)), Ok(3));
        assert_eq!(built.get(at(6), || Err("half a file")), Ok(3));
        assert_eq!(built.get(at(6), || Ok::<_, &str>(4)), Ok(4));
    }
}
