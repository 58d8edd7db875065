//! Other servers, asked over the network.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use plexus_net::federation::{Call, FederationClient, FederationError, KeyRing, WantedKey};
use plexus_protocol::event::sign::KnownKey;
use plexus_protocol::id::{EventId, RoomId, ServerName};
use serde::{Deserialize, Serialize};

use super::{Asked, MissingEvents, Peers, RawPdu, SignedBy, StateEvents, StateIds, Waiting};

const PREFIX: &str = "/_matrix/federation";

/// [`Peers`] by the server-server API.
pub struct FederationPeers {
    client: Arc<FederationClient>,
    keys: Arc<KeyRing>,
}

impl FederationPeers {
    /// Peers that `client` reaches and whose keys `keys` finds.
    #[must_use]
    pub fn new(client: Arc<FederationClient>, keys: Arc<KeyRing>) -> Self {
        Self { client, keys }
    }
}

/// A path: `parts` percent-encoded after the prefix.
fn path(parts: &[&str]) -> String {
    let mut path = PREFIX.to_owned();
    for part in parts {
        path.push('/');
        encode(part, &mut path);
    }
    path
}

fn with_query(mut path: String, query: &[(&str, &str)]) -> String {
    for (at, (name, value)) in query.iter().enumerate() {
        path.push(if at == 0 { '?' } else { '&' });
        path.push_str(name);
        path.push('=');
        encode(value, &mut path);
    }
    path
}

/// Everything but unreserved characters (RFC 3986, 2.3).
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[derive(Deserialize)]
struct Pdus {
    pdus: Vec<RawPdu>,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<RawPdu>,
}

#[derive(Deserialize)]
struct AuthChain {
    auth_chain: Vec<RawPdu>,
}

#[derive(Deserialize)]
struct State {
    pdus: Vec<RawPdu>,
    auth_chain: Vec<RawPdu>,
}

#[derive(Deserialize)]
struct Ids {
    pdu_ids: Vec<EventId>,
    auth_chain_ids: Vec<EventId>,
}

#[derive(Serialize)]
struct MissingEventsBody<'a> {
    earliest_events: &'a [EventId],
    latest_events: &'a [EventId],
    limit: u32,
    min_depth: u64,
}

impl Peers for FederationPeers {
    fn event<'a>(&'a self, server: &'a ServerName, event: &'a EventId) -> Asked<'a, RawPdu> {
        Box::pin(async move {
            let call = Call::get(path(&["v1", "event", event.as_str()]));
            let answer: Pdus = self.client.call_json(server, call).await?;
            answer.pdus.into_iter().next().ok_or_else(|| FederationError::NotJson {
                destination: server.clone(),
                problem: "there is no event in it".to_owned(),
            })
        })
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        query: MissingEvents,
    ) -> Asked<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let body = MissingEventsBody {
                earliest_events: &query.earliest,
                latest_events: &query.latest,
                limit: query.limit,
                min_depth: query.min_depth,
            };
            let body = serde_json::to_string(&body).map_err(|error| FederationError::Malformed(error.to_string()))?;
            let call = Call::post(path(&["v1", "get_missing_events", room.as_str()]), body);
            let answer: Events = self.client.call_json(server, call).await?;
            Ok(answer.events)
        })
    }

    fn backfill<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        events: &'a [EventId],
        limit: u32,
    ) -> Asked<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(events.iter().map(|event| ("v", event.as_str())));
            let call = Call::get(with_query(path(&["v1", "backfill", room.as_str()]), &query));
            let answer: Pdus = self.client.call_json(server, call).await?;
            Ok(answer.pdus)
        })
    }

    fn state_ids<'a>(&'a self, server: &'a ServerName, room: &'a RoomId, event: &'a EventId) -> Asked<'a, StateIds> {
        Box::pin(async move {
            let path = with_query(path(&["v1", "state_ids", room.as_str()]), &[("event_id", event.as_str())]);
            let answer: Ids = self.client.call_json(server, Call::get(path)).await?;
            Ok(StateIds { state: answer.pdu_ids, auth_chain: answer.auth_chain_ids })
        })
    }

    fn state<'a>(&'a self, server: &'a ServerName, room: &'a RoomId, event: &'a EventId) -> Asked<'a, StateEvents> {
        Box::pin(async move {
            let path = with_query(path(&["v1", "state", room.as_str()]), &[("event_id", event.as_str())]);
            let answer: State = self.client.call_json(server, Call::get(path)).await?;
            Ok(StateEvents { state: answer.pdus, auth_chain: answer.auth_chain })
        })
    }

    fn event_auth<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> Asked<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let call = Call::get(path(&["v1", "event_auth", room.as_str(), event.as_str()]));
            let answer: AuthChain = self.client.call_json(server, call).await?;
            Ok(answer.auth_chain)
        })
    }

    fn keys<'a>(&'a self, wanted: Vec<SignedBy>) -> Waiting<'a, HashMap<(String, String), KnownKey>> {
        Box::pin(async move {
            let wanted: Vec<WantedKey> = wanted
                .into_iter()
                .map(|key| WantedKey { server: key.server, key_id: key.key_id, at_ms: key.at_ms })
                .collect();
            self.keys.keys(&wanted).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded() {
        let room = path(&["v1", "state", "!room:example.org"]);
        assert_eq!(
            with_query(room, &[("event_id", "$a/b+c:d")]),
            "/_matrix/federation/v1/state/%21room%3Aexample.org?event_id=%24a%2Fb%2Bc%3Ad"
        );
    }
}
