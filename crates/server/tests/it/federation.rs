//! The server-server API. Tests of an endpoint are in its path below `api-federation/src`; tests of several
//! endpoints, and of requests to other servers, are in a file of their subject.

mod asking;
mod authenticated_media {
    mod get_content;
}
mod authentication;
pub(crate) mod away;
mod backfill {
    mod get_backfill;
}
mod crowd;
mod delivery;
mod device {
    mod get_devices;
}
mod device_lists;
mod discovery {
    mod discover_homeserver;
    mod get_remote_server_keys;
    mod get_server_keys;
    mod get_server_version;
}
mod edus;
pub(crate) mod event;
mod every_endpoint;
mod forward_extremities;
mod gaps;
pub(crate) mod membership {
    pub(crate) mod create_invite;
    mod create_join_event;
    mod create_knock_event;
    mod create_leave_event;
    mod ended_invites;
}
mod openid {
    mod get_openid_userinfo;
}
mod policy {
    mod sign_event;
}
mod policy_hooks;
mod policy_servers;
mod query {
    mod get_profile_information;
    mod get_room_information;
}
pub(crate) mod remote_media;
mod room {
    mod get_room_complexity;
}
mod space {
    mod get_hierarchy;
}
mod spaces;
mod sticky_events;
mod thirdparty {
    mod exchange_invite;
}
mod version_1_servers;

use http::Method;
use plexus_protocol::event::{Pdu, build};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{create, room_path};

/// Options under which other servers may read what is optional.
pub(crate) const OPEN: &str = "
allow_public_rooms_over_federation: true
allow_device_name_lookup_over_federation: true
room_list_publication_rules: [{action: allow}]";

/// A path of the server-server API; each segment of `segments` is encoded.
pub(crate) fn path(base: &str, segments: &[&str]) -> String {
    let encode = |text: &&str| text.replace('%', "%25").replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
    let segments = segments.iter().map(encode).collect::<Vec<_>>().join("/");
    format!("/_matrix/federation/{base}/{segments}")
}

/// A room of a version that anybody may join.
pub(crate) async fn public_room(server: &TestServer, alice: &TestUser, version: &str) -> String {
    create(server, alice, json!({ "preset": "public_chat", "room_version": version })).await
}

/// Sets a state of a room.
pub(crate) async fn set(server: &TestServer, alice: &TestUser, room: &str, event_type: &str, content: Value) -> String {
    let sent = server.put(&room_path(room, &format!("state/{event_type}/")), &alice.token, content).await;
    sent.ok()["event_id"].as_str().unwrap_or_default().to_owned()
}

/// What a server says of a user's membership.
pub(crate) async fn membership(server: &TestServer, alice: &TestUser, room: &str, user: &str) -> Option<String> {
    let answer = server.get(&room_path(room, &format!("state/m.room.member/{user}")), &alice.token).await;
    answer.body["membership"].as_str().map(str::to_owned)
}

/// `make_join` and the like: `what` is `join`, `leave` or `knock`.
pub(crate) async fn make(server: &TestServer, peer: &Peer, what: &str, room: &str, user: &str) -> Answer {
    let versions: Vec<String> = RoomVersion::ALL.iter().map(|version| format!("ver={version}")).collect();
    let path = path(&format!("v1/make_{what}"), &[room, user]);
    peer.get(server, &format!("{path}?{}", versions.join("&"))).await
}

pub(crate) fn version_of(made: &Answer) -> RoomVersion {
    made.ok()["room_version"].as_str().unwrap_or_default().parse().expect("a room version")
}

/// The event of a template, with `change` made to it, signed by the peer.
pub(crate) fn signed(peer: &Peer, made: &Answer, change: impl FnOnce(&mut Value)) -> Pdu {
    let mut event = made.ok()["event"].clone();
    change(&mut event);
    let event = Object::parse(&event.to_string()).expect("an event");
    build::finish(event, version_of(made), peer.key(), peer.name()).expect("an event that can be built")
}

/// `send_join` and the like; `base` with its version.
pub(crate) async fn submit(server: &TestServer, peer: &Peer, base: &str, room: &str, pdu: &Pdu, query: &str) -> Answer {
    let path = format!("{}{query}", path(base, &[room, pdu.event_id().as_str()]));
    peer.request(server, Method::PUT, &path, Some(json_of(pdu))).await
}

pub(crate) fn json_of(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json()).expect("an event is JSON")
}

/// A user of the peer joins. Returns what the server said, and the event.
pub(crate) async fn join(server: &TestServer, peer: &Peer, room: &str, user: &str) -> (Answer, Pdu) {
    let made = make(server, peer, "join", room, user).await;
    let pdu = signed(peer, &made, |_| {});
    let answer = submit(server, peer, "v2/send_join", room, &pdu, "").await;
    answer.ok();
    (answer, pdu)
}

/// The events of a member of an answer.
pub(crate) fn pdus(answer: &Answer, member: &str, version: RoomVersion) -> Vec<Pdu> {
    let events = answer.ok()[member].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| Pdu::parse(&event.to_string(), version).expect("an event of its version")).collect()
}

/// The text messages among events, in their order; a redacted one is empty.
pub(crate) fn bodies(pdus: &[Pdu]) -> Vec<String> {
    let messages = pdus.iter().filter(|pdu| pdu.event_type() == "m.room.message");
    messages.map(|pdu| pdu.content().get_str("body").unwrap_or_default().to_owned()).collect()
}
