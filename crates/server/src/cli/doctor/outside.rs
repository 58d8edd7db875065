//! What other servers see of this one, and what this one reaches: the forward proxy, TURN servers.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http::header::DATE;
use plexus_net::dns::SystemNames;
use plexus_net::federation::{OutsideView, WellKnown};
use plexus_net::http::{ConnectError, WholeResponse};
use plexus_net::{HttpError, Purpose, turn};
use plexus_protocol::id::ServerName;
use serde_json::Value;

use super::check::{Check, Doctor};
use crate::key_file;

/// By how much this machine's clock may differ from another's.
const MAX_SKEW: Duration = Duration::from_secs(30);
/// Where a server publishes its keys.
const KEYS: &str = "/_matrix/key/v2/server";
/// The check whether other servers reach this one.
const REACHED: &str = "reached by other servers";

impl Doctor<'_> {
    /// Delegation, certificate and keys, as other servers find them.
    pub(super) async fn outside(&self) -> Vec<Check> {
        let Ok(server) = ServerName::try_from(self.config.server.server_name.as_str()) else { return Vec::new() };
        let view = self.view();
        if server.as_str() == "localhost" {
            let found = "others cannot reach a server whose name is localhost";
            return vec![Check::skipped(REACHED, found), self.clocks(&view).await];
        }
        let (check, authority) = delegation(view.well_known(&server).await, &server);
        let mut checks = vec![check];
        match view.get(&authority, KEYS).await {
            Ok(response) => {
                checks.push(Check::ok(REACHED, format!("{authority} responds, with a certificate for it")));
                checks.push(self.keys(&server, &response));
            }
            Err(error) => checks.push(Check::failed(
                REACHED,
                format!("{authority}: {error}"),
                "open the port (8448 without delegation), get a certificate for that name, or delegate: see \
                 docs/reverse-proxies.md. A server behind a router may not reach itself by its public name; then look \
                 from outside",
            )),
        }
        checks.push(self.clocks(&view).await);
        checks
    }

    fn view(&self) -> OutsideView {
        OutsideView::new(Arc::clone(&self.http), self.clock.clone(), self.random.clone(), self.background.clone())
    }

    fn keys(&self, server: &ServerName, response: &WholeResponse) -> Check {
        const NAME: &str = "published keys";
        let advice = "another server answers for this name, or it runs with another signing key (signing_key_path), \
                      or the proxy does not pass on /_matrix";
        let Ok(key) = key_file::of(self.config) else {
            return Check::failed(NAME, "the signing key cannot be read", "see `plexus config check`");
        };
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let published = &body["verify_keys"][key.key_id()]["key"];
        if response.status != 200 || body["server_name"] != server.as_str() {
            let found = format!("{KEYS} responds with {}, and not with the keys of {server}", response.status);
            return Check::failed(NAME, found, advice);
        }
        if published.as_str() == Some(key.public_key_base64().as_str()) {
            Check::ok(NAME, format!("{} is published", key.key_id()))
        } else {
            Check::failed(NAME, format!("{} is not among the published keys", key.key_id()), advice)
        }
    }

    /// Compares the clock of this machine with that of a trusted key server.
    async fn clocks(&self, view: &OutsideView) -> Check {
        const NAME: &str = "clock";
        let names = self.config.keys.trusted_key_servers.iter().map(|server| server.server_name.as_str());
        for server in names.filter_map(|name| ServerName::try_from(name).ok()) {
            let (_, authority) = delegation(view.well_known(&server).await, &server);
            let Ok(response) = view.get(&authority, KEYS).await else { continue };
            let date = response.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            let Some(date) = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()) else { continue };
            let now = Duration::from_millis(self.clock.now_ms());
            let skew = now.abs_diff(date);
            let found = format!("{} s from that of {server}", skew.as_secs());
            return if skew <= MAX_SKEW {
                Check::ok(NAME, found)
            } else {
                Check::failed(NAME, found, "set the clock, and keep it right by NTP: other servers refuse what is late")
            };
        }
        Check::skipped(NAME, "no trusted key server could be asked for the time")
    }

    /// Whether the forward proxies let requests pass.
    pub(super) async fn forward_proxies(&self) -> Vec<Check> {
        const NAME: &str = "forward proxy";
        let proxies = self.config.server.forward_proxies();
        let Ok(server) = ServerName::try_from(self.config.server.server_name.as_str()) else { return Vec::new() };
        let mut checks = Vec::new();
        for (scheme, proxy) in [("https", &proxies.https), ("http", &proxies.http)] {
            let Some(proxy) = proxy else { continue };
            // Whatever it leads to: the question is what the proxy says.
            let host = server.host_port().0;
            if proxies.no_proxy.matches(host.trim_matches(['[', ']']), if scheme == "https" { 443 } else { 80 }) {
                checks.push(Check::skipped(NAME, format!("{proxy}: this server itself is reached without it")));
                continue;
            }
            let request = Request::get(format!("{scheme}://{host}/.well-known/matrix/server")).body(Bytes::new());
            let Ok(request) = request else { continue };
            checks.push(match self.http.fetch(Purpose::WellKnown, request).await {
                Err(HttpError::Connect(error)) if error.is_of_proxy() => Check::failed(
                    NAME,
                    error.to_string(),
                    "docs/forward-proxies.md says what each message means, and what to do",
                ),
                // The server is named by an address that it must not connect to.
                Err(HttpError::Connect(ConnectError::Dial(error))) => {
                    Check::skipped(NAME, format!("{proxy}: not asked, because {error}"))
                }
                Err(HttpError::Timeout) => Check::warning(
                    NAME,
                    format!("{proxy}: no response in time, of the proxy or of what is behind it"),
                    "try again; docs/forward-proxies.md says what to look at",
                ),
                _ => Check::ok(NAME, format!("{proxy} lets {scheme} requests pass")),
            });
        }
        checks
    }

    pub(super) async fn turn(&self) -> Vec<Check> {
        const NAME: &str = "TURN";
        let names = SystemNames::default();
        let mut checks = Vec::new();
        for uri in &self.config.turn.turn_uris {
            checks.push(match turn::reach(uri, &names, self.random.bytes()).await {
                Ok(()) => Check::ok(NAME, format!("{uri} responds")),
                Err(error) => Check::failed(
                    NAME,
                    format!("{uri}: {error}"),
                    "start the TURN server, open its port in the firewall, or correct turn_uris",
                ),
            });
        }
        checks
    }
}

/// What is to be said of a server's delegation, and the name that it is reached as.
fn delegation(well_known: WellKnown, server: &ServerName) -> (Check, ServerName) {
    const NAME: &str = "delegation";
    match well_known {
        WellKnown::NotAsked => (Check::ok(NAME, format!("none: {server} says where it is")), server.clone()),
        WellKnown::Delegates(to) => {
            (Check::ok(NAME, format!("/.well-known/matrix/server of {server} leads to {to}")), to)
        }
        WellKnown::Absent => {
            let found = format!("none by /.well-known/matrix/server of {server}; SRV records and port 8448 count");
            (Check::ok(NAME, found), server.clone())
        }
        WellKnown::Unusable(reason) => (
            Check::warning(
                NAME,
                format!("/.well-known/matrix/server of {server}: {reason}; SRV records and port 8448 count"),
                "if there is to be delegation, correct what serves that file, see docs/reverse-proxies.md; otherwise \
                 nothing has to be done",
            ),
            server.clone(),
        ),
    }
}
