//! Listeners: binding their addresses, accepting connections, ending them.

mod bind;
mod connection;
mod exchange;
mod half_close;
mod heads;
mod inherited;
mod linger;
mod out_queue;
mod pieces;
mod resources;
mod slots;
mod stall;
mod unread;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::HeaderName;
use plexus_base::config::{Listener as ListenerConfig, ListenerType, ResourceName};
use plexus_base::{Clock, RateLimiter, Shutdown};
use plexus_http::{Peer, Probes};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) use bind::SocketFile;
pub(crate) use bind::unix as bind_unix;
pub use bind::{BindError, address_of};
use connection::Connections;
pub use inherited::{Inherited, InheritedError};
pub use slots::ConnectionLimits;
use slots::Slots;
use unread::UnreadResponses;

/// How long to wait after the system refused to accept a connection (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a listener warns that it refused connections, and that it cannot accept any.
const WARNINGS_PER_SECOND: f64 = 1.0 / 60.0;

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A listener of the configuration whose address is bound, and which does not serve yet.
pub struct Bound {
    socket: Socket,
    /// `tls: true`.
    pub tls: bool,
    x_forwarded: bool,
    request_id_header: Option<HeaderName>,
    site: Arc<str>,
    kind: ListenerType,
    resources: Vec<ResourceName>,
    compress: bool,
}

/// The routes that listeners serve.
pub struct Routers {
    /// Every route.
    pub all: Router,
    /// The metrics, at every path.
    pub metrics: Router,
}

impl Bound {
    /// Returns the TCP address; `None` for a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Whether clients or other servers can use it.
    pub fn is_for_clients(&self) -> bool {
        self.kind == ListenerType::Http
    }

    /// Returns where it listens, in words.
    pub fn describe(&self) -> String {
        match (&self.socket, self.address()) {
            (Socket::Unix(_, file), _) => format!("unix socket {}", file.path().display()),
            (_, Some(address)) => {
                let scheme = match self.kind {
                    ListenerType::Metrics => "metrics: http",
                    _ if self.tls => "https",
                    _ => "http",
                };
                format!("{scheme}://{address}")
            }
            (_, None) => "an unknown address".to_owned(),
        }
    }
}

/// Whether a listener is opened: those for metrics only with `enable_metrics`, as in Synapse.
pub fn is_opened(listener: &ListenerConfig, enable_metrics: bool) -> bool {
    match listener.r#type {
        ListenerType::Http => true,
        ListenerType::Metrics => enable_metrics,
        ListenerType::Manhole => false,
    }
}

/// Binds the addresses of all `listeners` that are opened, except for those of `inherited` sockets, which are used as
/// they are; all of them or none.
///
/// # Errors
/// See [`BindError`].
pub fn bind(
    listeners: &[ListenerConfig],
    enable_metrics: bool,
    mut inherited: Inherited,
) -> Result<Vec<Bound>, BindError> {
    let mut bound = Vec::new();
    for listener in listeners.iter().filter(|listener| is_opened(listener, enable_metrics)) {
        if let Some(path) = &listener.path {
            let (socket, file) = bind::unix(path, listener.mode.0)?;
            bound.push(with_socket(listener, Socket::Unix(socket, file)));
        } else if let Some(port) = listener.port {
            for socket in bind::tcp(port, &listener.bind_addresses, &mut inherited)? {
                bound.push(with_socket(listener, Socket::Tcp(socket)));
            }
        }
    }
    inherited.require_all_taken()?;
    Ok(bound)
}

fn with_socket(listener: &ListenerConfig, socket: Socket) -> Bound {
    let place = match &socket {
        Socket::Tcp(_) => listener.port.unwrap_or_default().to_string(),
        Socket::Unix(_, file) => file.path().display().to_string(),
    };
    Bound {
        socket,
        tls: listener.tls,
        x_forwarded: listener.trusts_forwarded(),
        // An invalid header name is in no request.
        request_id_header: listener.request_id_header.as_ref().and_then(|name| name.parse().ok()),
        site: listener.tag.clone().unwrap_or(place).into(),
        kind: listener.r#type,
        resources: listener.resources.iter().flat_map(|resource| resource.names.clone()).collect(),
        compress: listener.resources.iter().any(|resource| resource.compress),
    }
}

/// The accept loops of all listeners, and their connections.
#[derive(Debug)]
pub struct Serving {
    accepting: JoinSet<()>,
    slots: Arc<Slots>,
}

impl Serving {
    /// Serves `routers` on the listeners until `shutdown` begins, within the `limits` for connections.
    pub fn start(
        bound: Vec<Bound>,
        routers: &Routers,
        clock: &Clock,
        probes: &Arc<Probes>,
        tls: Option<&Arc<rustls::ServerConfig>>,
        shutdown: &Shutdown,
        limits: ConnectionLimits,
    ) -> Self {
        let slots = Slots::new(limits, clock.clone());
        let unread = UnreadResponses::new(clock);
        let mut accepting = JoinSet::new();
        for listener in bound {
            let mut router = match listener.kind {
                ListenerType::Metrics => routers.metrics.clone(),
                _ => resources::restrict(routers.all.clone(), listener.resources.clone()),
            };
            // Inside the compression, which hides how large a response is.
            router = router.layer(axum::middleware::from_fn_with_state(Arc::clone(&unread), unread::count));
            if listener.compress {
                router = router.layer(tower_http::compression::CompressionLayer::new());
            }
            // Outside the compression: the log counts what is sent.
            let router = plexus_http::frame(router, clock.clone(), Arc::clone(probes));
            let connections = Connections {
                router,
                tls: tls.filter(|_| listener.tls).map(|tls| TlsAcceptor::from(Arc::clone(tls))),
                clock: clock.clone(),
                shutdown: shutdown.clone(),
            };
            accepting.spawn(accept(listener, connections, Arc::clone(&slots)));
        }
        Self { accepting, slots }
    }

    /// Waits until every connection has ended; to be called once the shutdown has begun. Returns false if `grace` ended
    /// first.
    #[expect(clippy::disallowed_methods, reason = "connections end in real time")]
    pub async fn finished(mut self, grace: Duration) -> bool {
        let all_closed = async {
            while self.accepting.join_next().await.is_some() {}
            self.slots.all_ended().await;
        };
        tokio::time::timeout(grace, all_closed).await.is_ok()
    }
}

async fn accept(listener: Bound, connections: Connections, slots: Arc<Slots>) {
    let shutdown = connections.shutdown.clone();
    let refusals = RateLimiter::<()>::new(connections.clock.clone(), WARNINGS_PER_SECOND, 1.0);
    let failures = RateLimiter::<()>::new(connections.clock.clone(), WARNINGS_PER_SECOND, 1.0);
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener) => accepted,
            () = shutdown.begun() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if failures.check(&()).is_ok() {
                    tracing::warn!("cannot accept a connection on {}: {error}", listener.describe());
                }
                #[expect(clippy::disallowed_methods, reason = "connections end in real time")]
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // The connections of a trusted proxy are those of its clients.
        let address = peer.address.filter(|_| !listener.x_forwarded);
        let slot = tokio::select! {
            slot = slots.admit(address) => slot,
            () = shutdown.begun() => break,
        };
        let Some(slot) = slot else {
            if refusals.check(&()).is_ok() {
                warn_of_refusal(peer.address, slots.limits.of_one_address);
            }
            continue;
        };
        let connections = connections.clone();
        tokio::spawn(async move {
            match stream {
                Stream::Tcp(stream) => {
                    // Responses are written whole; waiting to fill a packet only adds delay. If this fails, nothing is
                    // lost.
                    let _ = stream.set_nodelay(true);
                    connections.serve(stream, peer, slot).await;
                }
                Stream::Unix(stream) => connections.serve(stream, peer, slot).await,
            }
        });
    }
}

/// Warns that a connection was refused.
fn warn_of_refusal(address: Option<IpAddr>, limit: u32) {
    tracing::warn!(
        "refused a connection of {}, which has {limit} already, as many as one address may have; \
         set x_forwarded on the listener if this is a reverse proxy",
        address.map_or_else(String::new, |address| address.to_string())
    );
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn accept_one(listener: &Bound) -> std::io::Result<(Stream, Peer)> {
    let (stream, address) = match &listener.socket {
        Socket::Tcp(socket) => {
            let (stream, address) = socket.accept().await?;
            (Stream::Tcp(stream), Some(address.ip()))
        }
        Socket::Unix(socket, _) => (Stream::Unix(socket.accept().await?.0), None),
    };
    let peer = Peer {
        address,
        tls: listener.tls,
        x_forwarded: listener.x_forwarded,
        request_id_header: listener.request_id_header.clone(),
        site: Arc::clone(&listener.site),
    };
    Ok((stream, peer))
}
