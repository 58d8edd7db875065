//! GET /_matrix/client/v3/voip/turnServer

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use plexus_base::Clock;
use plexus_base::config::{Config, TurnSection};
use plexus_http::{AuthGuest, JsonBody, State};
use plexus_protocol::id::UserId;
use serde::Serialize;
use sha1::Sha1;

/// The credentials for the TURN servers; empty if the user may not use any.
#[derive(Serialize)]
pub(crate) struct Response {
    #[serde(flatten)]
    servers: Option<Servers>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Servers {
    username: String,
    password: String,
    uris: Vec<String>,
    /// Seconds.
    ttl: u64,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(config): State<Arc<Config>>,
    State(clock): State<Clock>,
) -> JsonBody<Response> {
    let allowed = !requester.is_guest || config.turn.turn_allow_guests;
    let servers = allowed.then(|| servers(&config.turn, &requester.user_id, clock.now_ms())).flatten();
    JsonBody(Response { servers })
}

/// With a shared secret: the name and password of the TURN REST API, as coturn's `use-auth-secret` checks them.
fn servers(config: &TurnSection, user_id: &UserId, now_ms: u64) -> Option<Servers> {
    let ttl = config.turn_user_lifetime.as_secs();
    let (username, password) = if let Some(secret) = &config.turn_shared_secret {
        let username = format!("{}:{user_id}", (now_ms / 1000).saturating_add(ttl));
        // HMAC accepts keys of any length.
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok()?;
        mac.update(username.as_bytes());
        (username, STANDARD.encode(mac.finalize().into_bytes()))
    } else {
        (config.turn_username.clone()?, config.turn_password.as_ref()?.expose().to_owned())
    };
    (!config.turn_uris.is_empty()).then(|| Servers { username, password, uris: config.turn_uris.clone(), ttl })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(yaml: &str) -> Option<Servers> {
        let config = plexus_base::config::parse(&format!("server_name: x\n{yaml}")).expect("a configuration");
        servers(&config.turn, &"@alice:x".parse().expect("an id"), 1_700_000_000_999)
    }

    #[test]
    fn a_shared_secret_makes_a_password_that_ends() {
        let servers = asked(
            "turn_uris: ['turn:t.example']\nturn_shared_secret: n0t4ctuAllymatr1Xd0TorgSshar3d5ecret4obvIousreAsons\n\
             turn_user_lifetime: 1d",
        );
        let servers = servers.expect("servers");
        assert_eq!(servers.username, "1700086400:@alice:x");
        assert_eq!(servers.password, "4p48gYihHSnEVboKrkVXpOfBid0=");
        assert_eq!((servers.ttl, servers.uris), (86_400, vec!["turn:t.example".to_owned()]));
    }

    #[test]
    fn a_name_and_password_are_passed_on_and_without_servers_there_is_nothing() {
        let servers = asked("turn_uris: ['turn:t.example']\nturn_username: u\nturn_password: p").expect("servers");
        assert_eq!((servers.username.as_str(), servers.password.as_str()), ("u", "p"));
        assert_eq!(asked("turn_uris: ['turn:t.example']"), None);
        assert_eq!(asked("turn_shared_secret: s"), None);
    }
}
