use std::collections::BTreeMap;
use std::path::PathBuf;

use super::FileMode;
use crate::schema::{MapReader, choice, options};

options! {
    /// One port or unix socket.
    pub struct Listener checked by check_listener {
        /// The TCP port. Either this or `path` is required.
        acts port: Option<u16>,
        /// A name for this listener in logs.
        acts tag: Option<String>,
        /// The addresses to listen on; all addresses of the machine when empty.
        acts bind_addresses: Vec<String>,
        /// One more address to listen on: the old form of `bind_addresses`.
        acts bind_address: Option<String>,
        /// The protocol of the listener.
        acts r#type: ListenerType,
        /// Whether it uses TLS, with the certificate of `tls_certificate_path`.
        acts tls: bool = false,
        /// Whether a reverse proxy sends the client's address in X-Forwarded-For. True for unix sockets when not set.
        acts x_forwarded: Option<bool>,
        /// The header in which a reverse proxy sends a request id.
        acts request_id_header: Option<String>,
        /// The resources that are served here.
        acts resources: Vec<ListenerResource>,
        /// Python modules that serve their own paths.
        moot additional_resources: BTreeMap<String, serde_json::Value>,
        /// The unix socket's path. Either this or `port` is required.
        acts path: Option<PathBuf>,
        /// The permissions of the unix socket, in octal.
        acts mode: FileMode = FileMode(0o666),
    }
}

options! {
    /// Resources of a listener.
    pub struct ListenerResource {
        /// The names of the resources.
        acts names: Vec<ResourceName>,
        /// Whether responses are compressed for clients that accept gzip.
        acts compress: bool = false,
    }
}

choice! {
    /// The protocol of a listener.
    pub enum ListenerType {
        /// HTTP.
        Http = "http",
        /// Synapse's interactive Python console; not opened here.
        Manhole = "manhole",
        /// Prometheus metrics at every path, and nothing else; opened when `enable_metrics` is true.
        Metrics = "metrics",
    }
}

choice! {
    /// A resource that a listener serves.
    pub enum ResourceName {
        /// The client-server API; includes media and the admin API.
        Client = "client",
        /// The pages on which users agree to terms.
        Consent = "consent",
        /// The server-server API; includes media, keys and OpenID.
        Federation = "federation",
        /// The server's public signing keys.
        Keys = "keys",
        /// The media API.
        Media = "media",
        /// Prometheus metrics.
        Metrics = "metrics",
        /// OpenID tokens for integration managers.
        Openid = "openid",
        /// Traffic between workers.
        Replication = "replication",
        /// Static pages for logging in without a client.
        Static = "static",
        /// Health checks; always served.
        Health = "health",
    }
}

impl Listener {
    /// Returns the listener that `metrics_port` means.
    pub(super) fn for_metrics(port: u16, address: String) -> Self {
        let metrics = ListenerResource { names: vec![ResourceName::Metrics], compress: false };
        Self {
            port: Some(port),
            tag: None,
            bind_addresses: vec![address],
            bind_address: None,
            r#type: ListenerType::Http,
            tls: false,
            x_forwarded: None,
            request_id_header: None,
            resources: vec![metrics],
            additional_resources: BTreeMap::new(),
            path: None,
            mode: FileMode(0o666),
        }
    }

    /// Whether the client's address is read from X-Forwarded-For.
    pub fn trusts_forwarded(&self) -> bool {
        self.x_forwarded.unwrap_or(self.path.is_some())
    }

    /// Whether one of the resources is `name`.
    pub fn serves(&self, name: ResourceName) -> bool {
        self.resources.iter().any(|resource| resource.names.contains(&name))
    }
}

/// The replacement of Synapse's interactive Python console.
pub(super) const MANHOLE: &str = "a manhole is a Python console inside Synapse; here `plexus db` looks at the \
    database, the admin API changes accounts, and SIGHUP rereads the log levels";

/// Whether a listener can be bound to `address`.
pub(super) fn is_address(address: &str) -> bool {
    address == "localhost" || address.parse::<std::net::IpAddr>().is_ok()
}

fn check_listener(mut listener: Listener, map: &mut MapReader<'_, '_>) -> Listener {
    match (listener.port, &listener.path) {
        (Some(_), Some(_)) => map.error("path", "set together with port; allowed is one of the two"),
        (None, None) => map.error("port", "required, but neither it nor path is set"),
        (Some(0), None) => {
            map.error("port", "found the number 0; allowed is an integer from 1 to 65535");
        }
        _ => {}
    }
    if listener.tls && listener.path.is_some() {
        map.error("tls", "found true on a unix socket; allowed is TLS on a port");
    }
    listener.bind_addresses.extend(listener.bind_address.take());
    match listener.r#type {
        ListenerType::Http => {}
        ListenerType::Metrics if listener.path.is_some() => {
            map.error("path", "set for metrics; allowed is a port");
        }
        ListenerType::Metrics if listener.tls => {
            map.warn("tls", "ignored: metrics are served without TLS, as in Synapse");
            listener.tls = false;
        }
        ListenerType::Metrics => {}
        ListenerType::Manhole => map.warn("type", format!("not opened: {MANHOLE}")),
    }
    if listener.bind_addresses.is_empty() && listener.port.is_some() {
        let usual: &[&str] = match listener.r#type {
            ListenerType::Metrics => &["0.0.0.0"],
            _ => &["::", "0.0.0.0"],
        };
        listener.bind_addresses = usual.iter().map(|address| (*address).to_owned()).collect();
    }
    for address in &listener.bind_addresses {
        if !is_address(address) {
            let message = format!("found {address:?}; allowed is a list of IP addresses");
            map.error("bind_addresses", message);
        }
    }
    listener
}
