//! Other servers, asked over the network.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use plexus_net::Purpose;
use plexus_net::federation::{Call, FederationClient, FederationError, KeyRing, Patience, WantedKey};
use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::KnownKey;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::remote_state::RemoteState;
use super::{
    Asked, Entrance, MissingEvents, NearEvent, Peers, RawPdu, SignedBy, StateIds, StateParts, Template, Waiting,
};
use crate::model::direction::Direction;
use crate::read::stripped::MAX_STRIPPED_EVENTS;

const PREFIX: &str = "/_matrix/federation";
/// How long a large room may take to be told.
const JOIN_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest answer in bytes that is one event, or little more; and one of so many events.
const ONE_EVENT: usize = 512 * 1024;
const fn bytes_of(count: usize) -> usize {
    (count + 1) * 70_000
}
/// The largest signed invite in bytes: the stripped state may be in it.
const MAX_INVITE: usize = bytes_of(MAX_STRIPPED_EVENTS);
/// The largest answer of ids: some 600,000 of them.
const MAX_IDS: usize = 32 * 1024 * 1024;
/// The largest auth chain of one event, in bytes.
const MAX_AUTH_CHAIN: usize = 32 * 1024 * 1024;
/// The largest room that is joined, in bytes of its state and auth chain.
const MAX_JOIN_BYTES: usize = 500 * 1024 * 1024;

/// The largest profile, in bytes: a little more than it may have.
const MAX_PROFILE: usize = 128 * 1024;
/// How long one server may take to find the event nearest to a time.
const NEAR_TIMEOUT: Duration = Duration::from_secs(5);

const POLICY_PATH: &str = "/_matrix/policy/v1/sign";
/// How long a policy server may take: users wait for it whenever they send.
const POLICY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an identity server may take to say whether a key is valid.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_IDENTITY_BYTES: usize = 64 * 1024;
/// The largest answer in bytes that has nothing in it, or a few signatures.
const MAX_SHORT_ANSWER: usize = 64 * 1024;

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

fn send_path(version: &str, name: &str, pdu: &Pdu) -> String {
    path(&[version, name, pdu.room_id().as_str(), pdu.event_id().as_str()])
}

/// Whether `/v1/invite` can carry events of rooms of this version.
fn is_older_than_invites_v2(version: RoomVersion) -> bool {
    matches!(version, RoomVersion::V1 | RoomVersion::V2)
}

/// The body of `/v1/invite`: the event, with the stripped state among what is not signed.
fn older_invite(invite: &Pdu, stripped: Vec<RawPdu>) -> Result<String, FederationError> {
    let unsigned = serde_json::json!({ "invite_room_state": stripped }).to_string();
    let unsigned = Object::parse(&unsigned).map_err(|error| FederationError::Malformed(error.to_string()))?;
    Ok(invite.with_unsigned(Some(unsigned)).json().to_owned())
}

#[derive(Deserialize)]
struct TemplateAnswer {
    room_version: Option<String>,
    event: Box<RawValue>,
}

#[derive(Deserialize)]
struct SendKnockAnswer {
    knock_room_state: Vec<RawPdu>,
}

#[derive(Deserialize)]
struct InviteAnswer {
    event: RawPdu,
}

#[derive(Serialize)]
struct InviteBody<'a> {
    room_version: &'a str,
    event: &'a RawValue,
    invite_room_state: Vec<RawPdu>,
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
struct Validity {
    valid: bool,
}

#[derive(Deserialize)]
struct AuthChain {
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
            let call = Call::get(path(&["v1", "event", event.as_str()])).max_answer_bytes(ONE_EVENT);
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
            let call = call.max_answer_bytes(bytes_of(query.limit as usize));
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
            let most = bytes_of(limit as usize);
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(events.iter().map(|event| ("v", event.as_str())));
            let call = Call::get(with_query(path(&["v1", "backfill", room.as_str()]), &query)).max_answer_bytes(most);
            let answer: Pdus = self.client.call_json(server, call).await?;
            Ok(answer.pdus)
        })
    }

    fn state_ids<'a>(&'a self, server: &'a ServerName, room: &'a RoomId, event: &'a EventId) -> Asked<'a, StateIds> {
        Box::pin(async move {
            let path = with_query(path(&["v1", "state_ids", room.as_str()]), &[("event_id", event.as_str())]);
            let call = Call::get(path).max_answer_bytes(MAX_IDS);
            let answer: Ids = self.client.call_json(server, call).await?;
            Ok(StateIds { state: answer.pdu_ids, auth_chain: answer.auth_chain_ids })
        })
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> Asked<'a, Box<dyn StateParts>> {
        Box::pin(async move {
            let path = with_query(path(&["v1", "state", room.as_str()]), &[("event_id", event.as_str())]);
            let call = Call::get(path).timeout(JOIN_TIMEOUT).max_answer_bytes(MAX_JOIN_BYTES);
            let answer = self.client.stream(server, call).await?;
            Ok(Box::new(RemoteState::new(server.clone(), answer)) as Box<dyn StateParts>)
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
            let call = call.max_answer_bytes(MAX_AUTH_CHAIN);
            let answer: AuthChain = self.client.call_json(server, call).await?;
            Ok(answer.auth_chain)
        })
    }

    fn template<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        user: &'a UserId,
        entrance: Entrance,
    ) -> Asked<'a, Template> {
        Box::pin(async move {
            let make = format!("make_{}", entrance.as_str());
            let versions: Vec<(&str, &str)> = match entrance {
                Entrance::Leave => Vec::new(),
                Entrance::Join | Entrance::Knock => RoomVersion::ALL.iter().map(|it| ("ver", it.as_str())).collect(),
            };
            let path = with_query(path(&["v1", &make, room.as_str(), user.as_str()]), &versions);
            let call = Call::get(path).max_answer_bytes(ONE_EVENT);
            let answer: TemplateAnswer = self.client.call_json(server, call).await?;
            let malformed = |problem: String| FederationError::NotJson { destination: server.clone(), problem };
            // Servers of before room versions do not name one.
            let version = answer.room_version.as_deref().unwrap_or("1");
            let room_version = version.parse().map_err(|_| malformed(format!("room version {version:?}")))?;
            let event = Object::parse(answer.event.get()).map_err(|error| malformed(error.to_string()))?;
            Ok(Template { room_version, event })
        })
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        join: &'a Pdu,
        omit_members: bool,
    ) -> Asked<'a, Box<dyn StateParts>> {
        Box::pin(async move {
            let omit = if omit_members { "true" } else { "false" };
            let path = with_query(send_path("v2", "send_join", join), &[("omit_members", omit)]);
            let put = |path: String| {
                Call::put(path, join.json().to_owned()).timeout(JOIN_TIMEOUT).max_answer_bytes(MAX_JOIN_BYTES)
            };
            let state = match self.client.stream(server, put(path)).await {
                Ok(answer) => RemoteState::new(server.clone(), answer),
                Err(error) if error.is_unknown_endpoint() => {
                    let answer = self.client.stream(server, put(send_path("v1", "send_join", join))).await?;
                    RemoteState::with_status(server.clone(), answer)
                }
                Err(error) => return Err(error),
            };
            Ok(Box::new(state) as Box<dyn StateParts>)
        })
    }

    fn send_knock<'a>(&'a self, server: &'a ServerName, knock: &'a Pdu) -> Asked<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let call = Call::put(send_path("v1", "send_knock", knock), knock.json().to_owned());
            let call = call.max_answer_bytes(bytes_of(MAX_STRIPPED_EVENTS));
            let answer = self.client.stream(server, call).await?;
            // The head of the answer says that the knock has been taken in, whatever becomes of the rest.
            let body = answer.whole().await.map_err(|error| error.to_string());
            let answer = body
                .and_then(|body| serde_json::from_slice(&body).map_err(|error| error.to_string()))
                .unwrap_or_else(|error| {
                    tracing::info!("{server} has taken a knock in and does not describe the room: {error}");
                    SendKnockAnswer { knock_room_state: Vec::new() }
                });
            Ok(answer.knock_room_state)
        })
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, leave: &'a Pdu) -> Asked<'a, ()> {
        Box::pin(async move {
            let put = |version: &str| {
                Call::put(send_path(version, "send_leave", leave), leave.json().to_owned()).max_answer_bytes(ONE_EVENT)
            };
            match self.client.call(server, put("v2")).await {
                Err(error) if error.is_unknown_endpoint() => self.client.call(server, put("v1")).await.map(|_| ()),
                other => other.map(|_| ()),
            }
        })
    }

    fn invite<'a>(&'a self, server: &'a ServerName, invite: &'a Pdu, stripped: Vec<RawPdu>) -> Asked<'a, RawPdu> {
        Box::pin(async move {
            let malformed = |error: serde_json::Error| FederationError::Malformed(error.to_string());
            let event = RawValue::from_string(invite.json().to_owned()).map_err(malformed)?;
            let body =
                InviteBody { room_version: invite.room_version().as_str(), event: &event, invite_room_state: stripped };
            let whole = serde_json::to_string(&body).map_err(malformed)?;
            let call = Call::put(send_path("v2", "invite", invite), whole).max_answer_bytes(MAX_INVITE);
            match self.client.call_json::<InviteAnswer>(server, call).await {
                Err(error) if error.is_unknown_endpoint() && is_older_than_invites_v2(invite.room_version()) => {
                    let call =
                        Call::put(send_path("v1", "invite", invite), older_invite(invite, body.invite_room_state)?);
                    let call = call.max_answer_bytes(MAX_INVITE);
                    let (_, answer): (u16, InviteAnswer) = self.client.call_json(server, call).await?;
                    Ok(answer.event)
                }
                answer => Ok(answer?.event),
            }
        })
    }

    fn profile<'a>(&'a self, server: &'a ServerName, user: &'a UserId, timeout: Duration) -> Asked<'a, Object> {
        Box::pin(async move {
            let path = with_query(path(&["v1", "query", "profile"]), &[("user_id", user.as_str())]);
            let call = Call::get(path).patience(Patience::Background).timeout(timeout).max_answer_bytes(MAX_PROFILE);
            self.client.call_json(server, call).await
        })
    }

    fn event_near<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        ts: u64,
        direction: Direction,
    ) -> Asked<'a, NearEvent> {
        Box::pin(async move {
            let ts = ts.to_string();
            let dir = if direction == Direction::Forward { "f" } else { "b" };
            let path = path(&["v1", "timestamp_to_event", room.as_str()]);
            let call = Call::get(with_query(path, &[("ts", ts.as_str()), ("dir", dir)]));
            let call = call.patience(Patience::Background).timeout(NEAR_TIMEOUT).max_answer_bytes(ONE_EVENT);
            self.client.call_json(server, call).await
        })
    }

    fn policy_signature<'a>(&'a self, server: &'a ServerName, pdu: &'a Pdu) -> Asked<'a, Object> {
        Box::pin(async move {
            let call = Call::post(POLICY_PATH.to_owned(), pdu.json().to_owned()).timeout(POLICY_TIMEOUT);
            let call = call.max_answer_bytes(MAX_SHORT_ANSWER);
            self.client.call_json(server, call).await
        })
    }

    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        invite: Object,
    ) -> Asked<'a, ()> {
        Box::pin(async move {
            let path = path(&["v1", "exchange_third_party_invite", room.as_str()]);
            let call = Call::put(path, invite.to_json()).max_answer_bytes(MAX_SHORT_ANSWER);
            self.client.call(server, call).await.map(|_| ())
        })
    }

    fn identity_key_is_valid<'a>(
        &'a self,
        named_by: &'a ServerName,
        key_validity_url: &'a str,
        public_key: &'a str,
    ) -> Asked<'a, bool> {
        Box::pin(async move {
            let mut url = key_validity_url.to_owned();
            url.push_str(if url.contains('?') { "&public_key=" } else { "?public_key=" });
            encode(public_key, &mut url);
            let purpose = Purpose::IdentityServer;
            let answer = self.client.fetch(purpose, named_by, &url, IDENTITY_TIMEOUT, MAX_IDENTITY_BYTES).await?;
            let answer: Result<Validity, _> = serde_json::from_slice(answer.whole().await?.as_ref());
            Ok(answer.is_ok_and(|answer| answer.valid))
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
