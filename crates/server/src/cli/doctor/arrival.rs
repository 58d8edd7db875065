//! How requests arrive: through the listeners themselves, and through whatever is in front of them.

use bytes::Bytes;
use http::Request;
use plexus_base::config::Listener;
use plexus_http::Arrived;
use plexus_net::http::{send_operator_command, send_unverified_operator_command};

use super::check::{Check, Doctor};
use crate::listen;

/// What the probe claims to be, to see whether it is believed: an address for documentation (RFC 5737).
const CLAIMED_ADDRESS: &str = "192.0.2.66";
/// A path that proxies are tempted to change; the nonce stands between the halves.
const AWKWARD: (&str, &str) = ("/_matrix/client/v3/plexus-doctor/%24a%2Fb%2B+%3a/..x/", "/%2F%2e%2E//end?a=%2F+b");
/// A path that no proxy changes.
const PLAIN: (&str, &str) = ("/_matrix/client/v3/plexus-doctor/", "/end");

const DOCUMENT: &str = "docs/reverse-proxies.md";

impl Doctor<'_> {
    pub(super) async fn listeners(&self) -> Vec<Check> {
        const NAME: &str = "listener";
        if !self.runs() {
            return Vec::new();
        }
        let mut checks = Vec::new();
        let opened = |listener: &&Listener| listen::is_opened(listener, self.config.metrics.enable_metrics);
        for listener in self.config.server.listeners.iter().filter(opened) {
            let Some(port) = listener.port else { continue };
            for address in &listener.bind_addresses {
                let url = listener_url(listener, address, port);
                let request = Request::get(format!("{url}/health")).body(Bytes::new());
                let Ok(request) = request else { continue };
                checks.push(match send_unverified_operator_command(request).await {
                    Ok(_) => Check::ok(NAME, format!("{url} responds")),
                    Err(error) => Check::failed(
                        NAME,
                        format!("{url} does not respond: {error}"),
                        "does something else listen there? Was the server restarted since `listeners` was changed?",
                    ),
                });
            }
        }
        checks
    }

    /// Sends requests to the public address of the server and asks it how they arrived.
    pub(super) async fn arrival(&mut self) -> Vec<Check> {
        const NAME: &str = "public address";
        let base = self.config.server.base_url();
        let base = base.trim_end_matches('/').to_owned();
        if base == "https://localhost" {
            return vec![Check::skipped(NAME, "the server's name is localhost, and public_baseurl is not set")];
        }
        if !self.runs() {
            return vec![Check::skipped(NAME, "the server does not run")];
        }
        let plain = match self.probe(&base, PLAIN).await {
            Ok((_, Some(arrived))) => arrived,
            Ok((_, None)) => {
                return vec![Check::failed(
                    NAME,
                    format!("something responds at {base}, but the request did not arrive at this server"),
                    format!("have the reverse proxy pass on /_matrix and /_synapse/client, see {DOCUMENT}"),
                )];
            }
            Err(error) => {
                return vec![Check::failed(
                    NAME,
                    format!("{base} cannot be reached: {error}"),
                    "correct public_baseurl, the reverse proxy, its certificate or the DNS",
                )];
            }
        };
        let mut checks = vec![Check::ok(NAME, format!("{base} leads to this server"))];
        checks.push(self.paths(&base).await);
        checks.extend(headers(&plain, base.starts_with("https://")));
        checks
    }

    async fn paths(&mut self, base: &str) -> Check {
        const NAME: &str = "paths of requests";
        let advice = format!(
            "nginx: proxy_pass without a path, not even a slash; Apache: nocanon, AllowEncodedSlashes NoDecode and \
             MergeSlashes Off; see {DOCUMENT}"
        );
        match self.probe(base, AWKWARD).await {
            Ok((sent, Some(arrived))) if arrived.target == sent => Check::ok(NAME, "they arrive as they are sent"),
            Ok((sent, Some(arrived))) => Check::failed(
                NAME,
                format!("a reverse proxy changes them: {sent} arrives as {}", arrived.target),
                advice,
            ),
            Ok((sent, None)) => Check::failed(NAME, format!("a reverse proxy refuses or rewrites {sent}"), advice),
            Err(error) => Check::failed(NAME, error, advice),
        }
    }

    /// Sends a request whose path has a nonce in it. Returns its target, and how it arrived here, if it did.
    async fn probe(&mut self, base: &str, path: (&str, &str)) -> Result<(String, Option<Arrived>), String> {
        let Some(server) = &mut self.server else { return Err("the server does not run".to_owned()) };
        let nonce: String = self.random.bytes::<12>().iter().map(|byte| format!("{byte:02x}")).collect();
        server.expect_probe(&nonce).map_err(|error| error.to_string())?;
        let target = format!("{}{nonce}{}", path.0, path.1);
        let request = Request::get(format!("{base}{target}"))
            .header("X-Forwarded-For", CLAIMED_ADDRESS)
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let sent = send_operator_command(request).await;
        let arrived = server.take_probe(&nonce).map_err(|error| error.to_string())?;
        if arrived.is_none() {
            sent.map_err(|error| error.to_string())?;
        }
        Ok((target, arrived))
    }
}

/// Judges the headers of a probe, which was sent to an `https://` address if `is_encrypted`.
fn headers(arrived: &Arrived, is_encrypted: bool) -> Vec<Check> {
    let mut checks = vec![client_address(arrived, is_encrypted)];
    if arrived.x_forwarded && is_encrypted && arrived.forwarded_proto.as_deref() != Some("https") {
        checks.push(Check::warning(
            "X-Forwarded-Proto",
            match &arrived.forwarded_proto {
                Some(proto) => format!("the proxy says {proto} of a request that was encrypted"),
                None => "the proxy does not set it".to_owned(),
            },
            format!("have the reverse proxy set it, see {DOCUMENT}"),
        ));
    }
    checks
}

/// Judges whose address the server takes for the client's. The client of the probe claimed to be [`CLAIMED_ADDRESS`].
fn client_address(arrived: &Arrived, is_encrypted: bool) -> Check {
    const NAME: &str = "addresses of clients";
    let client = arrived.client.map_or_else(|| "unknown".to_owned(), |client| client.to_string());
    let set_header = format!("have the reverse proxy set X-Forwarded-For to the client's address, see {DOCUMENT}");
    let trust_header = "set x_forwarded: true on the listener that the proxy connects to";
    let forwarded_for = arrived.forwarded_for.as_deref();
    if arrived.x_forwarded {
        return match forwarded_for {
            Some(CLAIMED_ADDRESS) => Check::failed(
                NAME,
                format!("clients choose their address: {CLAIMED_ADDRESS} was claimed, and believed"),
                set_header,
            ),
            Some(_) if client == CLAIMED_ADDRESS => Check::failed(
                NAME,
                format!("clients choose their address: the proxy appends to X-Forwarded-For, and {client} comes first"),
                format!("have the reverse proxy replace X-Forwarded-For, not append to it, see {DOCUMENT}"),
            ),
            Some(_) => Check::ok(NAME, format!("the proxy names them; this one is {client}")),
            None => Check::failed(
                NAME,
                format!("the proxy does not set X-Forwarded-For: all clients are {client}"),
                set_header,
            ),
        };
    }
    match forwarded_for {
        // Whoever took the TLS off is what the server sees as every client.
        Some(CLAIMED_ADDRESS) if is_encrypted && !arrived.tls => Check::failed(
            NAME,
            format!("a reverse proxy passes on what clients claim in X-Forwarded-For: all clients are {client}"),
            format!("{set_header}; then {trust_header}"),
        ),
        Some(CLAIMED_ADDRESS) => Check::ok(NAME, format!("X-Forwarded-For is not believed; this one is {client}")),
        Some(_) => Check::failed(
            NAME,
            format!("a reverse proxy sets X-Forwarded-For, which is not believed: all clients are {client}"),
            trust_header,
        ),
        None => Check::failed(
            NAME,
            format!("a reverse proxy removes X-Forwarded-For: all clients are {client}"),
            format!("{set_header}; then {trust_header}"),
        ),
    }
}

/// Where a listener is reached on this machine.
fn listener_url(listener: &Listener, address: &str, port: u16) -> String {
    let host = match address {
        "0.0.0.0" | "" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_owned(),
    };
    format!("{}://{host}:{port}", if listener.tls { "https" } else { "http" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::Outcome;

    #[test]
    fn headers_are_judged_by_what_becomes_of_a_claim() {
        let arrived = |tls, x_forwarded, forwarded_for: Option<&str>, client: &str, proto: Option<&str>| Arrived {
            target: String::new(),
            client: client.parse().ok(),
            tls,
            x_forwarded,
            forwarded_for: forwarded_for.map(str::to_owned),
            forwarded_proto: proto.map(str::to_owned),
            host: None,
        };
        let (ok, failed, warning) = (Outcome::Ok, Outcome::Failed, Outcome::Warning);
        let (claimed, appended) = (Some("192.0.2.66"), Some("192.0.2.66, 203.0.113.5"));
        let (other, https) = (Some("203.0.113.5"), Some("https"));
        for (arrived, expected) in [
            (arrived(false, true, other, "203.0.113.5", https), vec![ok]),
            (arrived(false, true, other, "203.0.113.5", None), vec![ok, warning]),
            (arrived(false, true, claimed, "192.0.2.66", https), vec![failed]),
            (arrived(false, true, appended, "192.0.2.66", https), vec![failed]),
            (arrived(false, true, None, "127.0.0.1", https), vec![failed]),
            (arrived(true, false, claimed, "203.0.113.5", None), vec![ok]),
            (arrived(false, false, claimed, "127.0.0.1", None), vec![failed]),
            (arrived(false, false, other, "127.0.0.1", https), vec![failed]),
            (arrived(false, false, None, "127.0.0.1", None), vec![failed]),
        ] {
            let found: Vec<Outcome> = headers(&arrived, true).iter().map(|check| check.outcome).collect();
            assert_eq!(found, expected, "{arrived:?}");
        }
        // Without TLS in front, nothing says that there is a proxy.
        let plain = headers(&arrived(false, false, claimed, "203.0.113.5", None), false);
        assert_eq!(plain[0].outcome, ok);
    }
}
