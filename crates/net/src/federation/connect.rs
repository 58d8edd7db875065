//! From the name of a server to an encrypted connection: the steps after delegation by .well-known
//! (<https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>).

use plexus_base::Random;
use plexus_protocol::id::{Host, ServerName};
use tokio_rustls::client::TlsStream;

use super::error::UnreachableError;
use crate::dns::Service;
use crate::http::connector::Connector;
use crate::http::purpose::Purpose;
use crate::http::stream::BoxedStream;
use crate::http::target::Target;

/// The port of servers that name none.
const DEFAULT_PORT: u16 = 8448;
/// The most SRV records of one name that are tried.
const MAX_SERVICES: usize = 4;

/// Connects to a server. `authority` is the name after delegation: it is sent as `Host` and as SNI, and the certificate
/// must be for it.
pub(super) async fn connect(
    connector: &Connector,
    purpose: Purpose,
    authority: &ServerName,
    random: &Random,
) -> Result<TlsStream<BoxedStream>, UnreachableError> {
    let (written, port) = authority.host_port();
    let name = match authority.host() {
        // Step 1 (and 3.1): an address.
        Host::Address(ip) => {
            let port = port.unwrap_or(DEFAULT_PORT);
            let host = ip.to_string();
            return Ok(connector.encrypted(purpose, Target { host: &host, port, name: &host }).await?);
        }
        Host::Name(name) => name,
    };
    // Step 2 (and 3.2): a port is given.
    if let Some(port) = port {
        return Ok(connector.encrypted(purpose, Target { host: written, port, name: written }).await?);
    }
    // Step 5 (3.4): the name itself.
    let itself = Target { host: name, port: DEFAULT_PORT, name };
    // Steps 4 (3.3): SRV records; the certificate is still for the name.
    let services = match services(connector, name).await {
        Ok(services) => services,
        // Behind a proxy there may be no name server that knows more than the proxy's name.
        Err(error) if matches!(connector.proxy(purpose, true, itself), Ok(Some(_))) => {
            tracing::debug!("{error}; the proxy is asked for {name} itself");
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    if services.is_empty() {
        return Ok(connector.encrypted(purpose, itself).await?);
    }
    let mut failed = UnreachableError::NoService(name.to_owned());
    for service in in_order(services, random).into_iter().take(MAX_SERVICES) {
        // "A Target of "." means that the service is decidedly not available at this domain" (RFC 2782).
        if service.target.is_empty() {
            continue;
        }
        match connector.encrypted(purpose, Target { host: &service.target, port: service.port, name }).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

async fn services(connector: &Connector, name: &str) -> Result<Vec<Service>, UnreachableError> {
    for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
        let name = format!("{service}.{name}");
        match connector.names().services(&name).await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => return Ok(found),
            Err(source) => return Err(UnreachableError::Services { name, source }),
        }
    }
    Ok(Vec::new())
}

/// By priority; among equals at random, the heavier the more likely first (RFC 2782, "Usage rules").
fn in_order(mut services: Vec<Service>, random: &Random) -> Vec<Service> {
    services.sort_by_key(|service| (service.priority, service.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let equals = services.iter().take_while(|service| service.priority == first.priority);
        let total: u64 = equals.map(|service| u64::from(service.weight)).sum();
        let mut drawn = random.below(total + 1);
        let chosen = services.iter().position(|service| {
            let weight = u64::from(service.weight);
            let here = drawn <= weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        ordered.push(services.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, target: &str) -> Service {
        Service { priority, weight, port: 1, target: target.to_owned() }
    }

    fn names(services: Vec<Service>) -> String {
        services.into_iter().map(|service| service.target).collect()
    }

    #[test]
    fn lower_priorities_come_first_and_every_record_once() {
        let random = Random::seeded(1);
        for _ in 0..50 {
            let given = vec![service(20, 100, "c"), service(10, 0, "a"), service(20, 0, "d"), service(10, 5, "b")];
            let order = names(in_order(given, &random));
            assert!(["abcd", "bacd", "abdc", "badc"].contains(&order.as_str()), "{order}");
        }
    }

    #[test]
    fn a_heavier_record_comes_first_more_often_by_its_weight() {
        let random = Random::seeded(2);
        let given = || vec![service(1, 10, "l"), service(1, 90, "h")];
        let heavy = (0..1000).filter(|_| names(in_order(given(), &random)).starts_with('h')).count();
        assert!((850..950).contains(&heavy), "{heavy}");
    }
}
