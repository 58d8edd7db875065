//! Requests that `plexus doctor` sends through whatever is in front of this server, to see how they arrive.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use http::HeaderMap;
use http::header::HOST;
use parking_lot::Mutex;
use plexus_base::Clock;
use serde::{Deserialize, Serialize};

use crate::Peer;

/// How long a probe is waited for.
const LIFETIME: Duration = Duration::from_secs(60);
/// The most probes that are waited for; further ones replace the oldest.
const MAX_PROBES: usize = 16;

/// The probes that are waited for. Owned by this process: the doctor asks the one whose control socket it reaches.
#[derive(Debug)]
pub struct Probes {
    clock: Clock,
    probes: Mutex<Vec<Probe>>,
    /// Whether there are any, which there hardly ever are.
    any: AtomicBool,
}

#[derive(Debug)]
struct Probe {
    /// What the target of its request holds, and of no other.
    nonce: String,
    /// On the clock's monotonic time.
    until: Duration,
    arrived: Option<Arrived>,
}

/// How a probe arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Path and query.
    pub target: String,
    /// The client's address, as rate limits and logs see it.
    pub client: Option<IpAddr>,
    /// Whether it arrived over a connection with TLS.
    pub tls: bool,
    /// Whether the listener believes `X-Forwarded-For`.
    pub x_forwarded: bool,
    /// The headers, each as it came.
    pub forwarded_for: Option<String>,
    /// See [`Self::forwarded_for`].
    pub forwarded_proto: Option<String>,
    /// See [`Self::forwarded_for`].
    pub host: Option<String>,
}

impl Probes {
    /// No probes.
    pub fn new(clock: Clock) -> Self {
        Self { clock, probes: Mutex::default(), any: AtomicBool::new(false) }
    }

    /// Waits for a request whose target holds `nonce`, for a minute.
    pub fn expect(&self, nonce: String) {
        let now = self.clock.monotonic();
        let mut probes = self.probes.lock();
        probes.retain(|probe| probe.until > now);
        if probes.len() >= MAX_PROBES {
            probes.remove(0);
        }
        probes.push(Probe { nonce, until: now + LIFETIME, arrived: None });
        self.any.store(true, Ordering::Release);
    }

    /// Ends the wait. Returns how the request arrived, if it did.
    pub fn take(&self, nonce: &str) -> Option<Arrived> {
        let mut probes = self.probes.lock();
        let at = probes.iter().position(|probe| probe.nonce == nonce)?;
        let arrived = probes.remove(at).arrived;
        self.any.store(!probes.is_empty(), Ordering::Release);
        arrived
    }

    /// Notes the request, if it is one that is waited for.
    pub(crate) fn see(&self, request: &Request) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let now = self.clock.monotonic();
        let mut probes = self.probes.lock();
        probes.retain(|probe| probe.until > now);
        self.any.store(!probes.is_empty(), Ordering::Release);
        if let Some(probe) = probes.iter_mut().find(|probe| target.contains(&probe.nonce)) {
            probe.arrived = Some(arrived(target, request));
        }
    }
}

fn arrived(target: &str, request: &Request) -> Arrived {
    let peer = request.extensions().get::<Peer>();
    let text = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = request.headers();
    Arrived {
        target: target.to_owned(),
        client: peer.and_then(|peer| peer.client_ip(headers)),
        tls: peer.is_some_and(|peer| peer.tls),
        x_forwarded: peer.is_some_and(|peer| peer.x_forwarded),
        forwarded_for: text(headers, "x-forwarded-for"),
        forwarded_proto: text(headers, "x-forwarded-proto"),
        host: text(headers, HOST.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn only_what_is_waited_for_is_noted() {
        let clock = Clock::manual(0);
        let probes = Probes::new(clock.clone());
        let request = |target: &str| Request::get(target).header(HOST, "here").body(Body::empty()).unwrap();
        probes.see(&request("/a/nonce"));
        assert_eq!(probes.take("nonce"), None);
        probes.expect("nonce".to_owned());
        probes.see(&request("/other"));
        probes.see(&request("/a%2F/nonce?b"));
        let arrived = probes.take("nonce").unwrap();
        assert_eq!((arrived.target.as_str(), arrived.host.as_deref()), ("/a%2F/nonce?b", Some("here")));
        assert_eq!(probes.take("nonce"), None);

        for number in 0..100 {
            probes.expect(format!("nonce-{number}-"));
        }
        assert_eq!(probes.probes.lock().len(), MAX_PROBES);
        clock.advance(LIFETIME);
        probes.expect("last".to_owned());
        assert_eq!(probes.probes.lock().len(), 1);
    }
}
