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
        /// The addresses to listen on; all of this machine's when empty.
        acts bind_addresses: Vec<String>,
        /// One more address to listen on: the old form of `bind_addresses`.
        acts bind_address: Option<String>,
        /// What the listener speaks.
        acts r#type: ListenerType,
        /// Whether it speaks TLS, with the certificate of `tls_certificate_path`.
        acts tls: bool = false,
        /// Whether a proxy in front tells the client's address in X-Forwarded-For. True for unix sockets when not set.
        acts x_forwarded: Option<bool>,
        /// The header in which a proxy in front hands over an id for each request.
        acts request_id_header: Option<String>,
        /// What is served here.
        acts resources: Vec<ListenerResource>,
        /// Python modules that answer at paths of their own.
        moot additional_resources: BTreeMap<String, serde_json::Value>,
        /// The unix socket's path. Either this or `port` is required.
        acts path: Option<PathBuf>,
        /// The permissions of the unix socket, in octal.
        acts mode: FileMode = FileMode(0o666),
    }
}

options! {
    /// What a listener serves.
    pub struct ListenerResource {
        /// The names of what is served.
        acts names: Vec<ResourceName>,
        /// Whether answers are compressed for clients that accept gzip.
        acts compress: bool = false,
    }
}

choice! {
    /// What a listener speaks.
    pub enum ListenerType {
        /// HTTP.
        Http = "http",
        /// Synapse's interactive Python console.
        Manhole = "manhole",
        /// Prometheus metrics, and nothing else.
        Metrics = "metrics",
    }
}

choice! {
    /// Something a listener serves.
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
        /// Whether the server is up; served everywhere in any case.
        Health = "health",
    }
}

impl Listener {
    /// Whether the client's address is taken from X-Forwarded-For.
    pub fn trusts_forwarded(&self) -> bool {
        self.x_forwarded.unwrap_or(self.path.is_some())
    }

    /// True when one of the resources is `name`.
    pub fn serves(&self, name: ResourceName) -> bool {
        self.resources.iter().any(|resource| resource.names.contains(&name))
    }
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
    if listener.bind_addresses.is_empty() && listener.port.is_some() {
        listener.bind_addresses = vec!["::".to_owned(), "0.0.0.0".to_owned()];
    }
    for address in &listener.bind_addresses {
        if address.parse::<std::net::IpAddr>().is_err() && address != "localhost" {
            let message = format!("found {address:?}; allowed is a list of IP addresses");
            map.error("bind_addresses", message);
        }
    }
    listener
}
