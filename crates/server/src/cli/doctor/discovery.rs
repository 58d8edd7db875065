//! Whether clients find the server by its name: `/.well-known/matrix/client`
//! (<https://spec.matrix.org/v1.19/client-server-api/#well-known-uris>).

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN};
use http::{Request, StatusCode};
use plexus_net::Purpose;
use plexus_net::http::WholeResponse;
use plexus_protocol::id::{Host, ServerName};
use serde_json::Value;

use super::check::{Check, Doctor};

const NAME: &str = "clients find it";
const ADVICE: &str = "see docs/reverse-proxies.md, section 3";
/// Where a client in a browser comes from: any site.
const SOME_ORIGIN: &str = "https://client.example";

/// Looks whether the file at the server's name leads to `public_baseurl`.
pub(super) async fn clients_find_it(doctor: &Doctor<'_>) -> Check {
    let Ok(server) = ServerName::try_from(doctor.config.server.server_name.as_str()) else {
        return Check::skipped(NAME, "the server's name is not valid");
    };
    let host = server.host_port().0;
    if host == "localhost" || matches!(server.host(), Host::Address(_)) {
        return Check::skipped(NAME, format!("clients do not look for {server}: give them the address"));
    }
    let base = doctor.config.server.base_url();
    let base = base.trim_end_matches('/');
    let url = format!("https://{host}/.well-known/matrix/client");
    let request = Request::get(&url).header(ORIGIN, SOME_ORIGIN).body(Bytes::new());
    let Ok(request) = request else { return Check::skipped(NAME, format!("{url} is not an address")) };
    let by_hand = format!("until it does, users have to type {base} into their clients; {ADVICE}");
    match doctor.http.fetch(Purpose::WellKnown, request).await {
        Err(error) => Check::warning(NAME, format!("{url} does not respond: {error}"), by_hand),
        Ok(response) if response.status == StatusCode::OK => match fault(&response, base) {
            None => Check::ok(NAME, format!("{url} leads to {base}")),
            Some(fault) => Check::failed(NAME, format!("{url} {fault}"), ADVICE),
        },
        Ok(response) if response.status == StatusCode::NOT_FOUND && base == format!("https://{host}") => {
            Check::ok(NAME, format!("there is no {url}; the server is at its name itself"))
        }
        Ok(response) => Check::warning(NAME, format!("{url} responds with {}", response.status), by_hand),
    }
}

/// Returns what is wrong with a file that is to lead to `base`.
fn fault(response: &WholeResponse, base: &str) -> Option<String> {
    let Ok(content) = serde_json::from_slice::<Value>(&response.body) else {
        return Some("is not JSON".to_owned());
    };
    let Some(named) = content["m.homeserver"]["base_url"].as_str() else {
        return Some("names no m.homeserver.base_url".to_owned());
    };
    if named.trim_end_matches('/') != base {
        return Some(format!("leads to {named}, and public_baseurl is {base}"));
    }
    let allowed = response.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|origin| origin.as_bytes());
    if !allowed.is_some_and(|origin| origin == b"*" || origin == SOME_ORIGIN.as_bytes()) {
        return Some(
            "is without the header Access-Control-Allow-Origin: *, and clients in browsers cannot read it".to_owned(),
        );
    }
    None
}
