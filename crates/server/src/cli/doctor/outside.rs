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
use plexus_protocol::event::sign::SigningKey;
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
/// The check whether the server publishes the key that it signs with.
const KEYS_CHECK: &str = "published keys";
/// The check whether the time of day is right.
const CLOCK: &str = "clock";

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
        match key_file::of(self.config) {
            Ok(key) => published(&key, server, response),
            Err(_) => Check::failed(KEYS_CHECK, "the signing key cannot be read", "see `plexus config check`"),
        }
    }

    /// Compares the clock of this machine with that of a trusted key server.
    async fn clocks(&self, view: &OutsideView) -> Check {
        let names = self.config.keys.trusted_key_servers.iter().map(|server| server.server_name.as_str());
        for server in names.filter_map(|name| ServerName::try_from(name).ok()) {
            let (_, authority) = delegation(view.well_known(&server).await, &server);
            let Ok(response) = view.get(&authority, KEYS).await else { continue };
            let date = response.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            let Some(date) = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()) else { continue };
            return clock(Duration::from_millis(self.clock.now_ms()), date, &server);
        }
        Check::skipped(CLOCK, "no trusted key server could be asked for the time")
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

/// Judges the response to a request for the keys of `server`, which signs with `key`.
fn published(key: &SigningKey, server: &ServerName, response: &WholeResponse) -> Check {
    let advice = "another server answers for this name, or it runs with another signing key (signing_key_path), or the \
                  proxy does not pass on /_matrix";
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status != 200 || body["server_name"] != server.as_str() {
        let found = format!("{KEYS} responds with {}, and not with the keys of {server}", response.status);
        return Check::failed(KEYS_CHECK, found, advice);
    }
    if body["verify_keys"][key.key_id()]["key"].as_str() == Some(key.public_key_base64().as_str()) {
        Check::ok(KEYS_CHECK, format!("{} is published", key.key_id()))
    } else {
        Check::failed(KEYS_CHECK, format!("{} is not among the published keys", key.key_id()), advice)
    }
}

/// Compares the time of day with that of another server, both since 1970.
fn clock(here: Duration, there: Duration, server: &ServerName) -> Check {
    let skew = here.abs_diff(there);
    let found = format!("{} s from that of {server}", skew.as_secs());
    if skew <= MAX_SKEW {
        Check::ok(CLOCK, found)
    } else {
        Check::failed(CLOCK, found, "set the clock, and keep it right by NTP: other servers refuse what is late")
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

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::check::Outcome;

    fn name(text: &str) -> ServerName {
        ServerName::try_from(text).unwrap()
    }

    fn said(check: &Check) -> (Outcome, &str) {
        (check.outcome, &check.found)
    }

    #[test]
    fn the_published_keys_are_those_that_the_server_signs_with() {
        let (key, other) = (SigningKey::generate(&[1; 32], "a"), SigningKey::generate(&[2; 32], "a"));
        let response = |status: StatusCode, server: &str| {
            let keys = json!({ key.key_id(): { "key": key.public_key_base64() } });
            let body = json!({ "server_name": server, "verify_keys": keys }).to_string();
            WholeResponse { status, headers: HeaderMap::new(), body: body.into() }
        };
        let here = name("example.com");
        let ok = response(StatusCode::OK, "example.com");
        assert_eq!(said(&published(&key, &here, &ok)), (Outcome::Ok, "ed25519:a is published"));
        let found = "ed25519:a is not among the published keys";
        assert_eq!(said(&published(&other, &here, &ok)), (Outcome::Failed, found));
        let found = "/_matrix/key/v2/server responds with 200 OK, and not with the keys of example.com";
        let elsewhere = response(StatusCode::OK, "other.example");
        assert_eq!(said(&published(&key, &here, &elsewhere)), (Outcome::Failed, found));
        let missing = response(StatusCode::NOT_FOUND, "example.com");
        assert!(published(&key, &here, &missing).found.contains("responds with 404 Not Found"));
    }

    #[test]
    fn a_clock_may_differ_by_half_a_minute() {
        let (at, server) = (|seconds: u64| Duration::from_secs(1_700_000_000 + seconds), name("matrix.org"));
        for (here, there, outcome, found) in [
            (100, 100, Outcome::Ok, "0 s from that of matrix.org"),
            (130, 100, Outcome::Ok, "30 s from that of matrix.org"),
            (131, 100, Outcome::Failed, "31 s from that of matrix.org"),
            (0, 3_600, Outcome::Failed, "3600 s from that of matrix.org"),
        ] {
            assert_eq!(said(&clock(at(here), at(there), &server)), (outcome, found));
        }
    }

    #[test]
    fn delegation_that_cannot_be_used_is_a_warning() {
        let (here, there) = (name("example.com"), name("matrix.example.com:443"));
        let well_known = "/.well-known/matrix/server of example.com";
        for (found, outcome, text, authority) in [
            (WellKnown::NotAsked, Outcome::Ok, "none: example.com says where it is".to_owned(), &here),
            (
                WellKnown::Delegates(there.clone()),
                Outcome::Ok,
                format!("{well_known} leads to matrix.example.com:443"),
                &there,
            ),
            (WellKnown::Absent, Outcome::Ok, format!("none by {well_known}; SRV records and port 8448 count"), &here),
            (
                WellKnown::Unusable("it is not JSON".to_owned()),
                Outcome::Warning,
                format!("{well_known}: it is not JSON; SRV records and port 8448 count"),
                &here,
            ),
        ] {
            let (check, reached_as) = delegation(found, &here);
            assert_eq!((said(&check), &reached_as), ((outcome, text.as_str()), authority));
        }
    }
}
