//! `PUT /invite/{room_id}/{event_id}`.

use axum::Router;
use axum::routing::get;
use plexus_http::JsonBody;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::{Answer, TestServer};
use serde_json::{Value, json};

use crate::client::room_path;
use crate::federation::{json_of, path, public_room};

/// An event of a room on the peer.
fn event(peer: &Peer, version: RoomVersion, room: Option<&str>, event_type: &str, key: &str, content: Value) -> Pdu {
    PduBuilder {
        room_id: room.map(|room| RoomId::try_from(room).expect("a room id")),
        sender: peer.user("bob").as_str().try_into().expect("a user id"),
        event_type: event_type.to_owned(),
        state_key: Some(key.to_owned()),
        content: Object::parse(&content.to_string()).expect("an object"),
        unsigned: None,
        redacts: None,
        prev_events: Vec::new(),
        auth_events: Vec::new(),
        depth: 1,
        origin_server_ts: 1_700_000_000_000,
    }
    .build(version, peer.key(), peer.name())
    .expect("an event")
}

/// A room on the peer: its id and its create event.
pub(crate) fn room_of(peer: &Peer, version: RoomVersion) -> (String, Pdu) {
    let id = format!("!elsewhere{version}:{}", peer.name());
    let content = json!({ "room_version": version, "creator": peer.user("bob") });
    let with_id = !version.rules().create_event_is_room_id;
    let create = event(peer, version, with_id.then_some(id.as_str()), "m.room.create", "", content);
    (create.room_id().as_str().to_owned(), create)
}

pub(crate) fn invite(peer: &Peer, version: RoomVersion, room: &str, user: &str) -> Pdu {
    event(peer, version, Some(room), "m.room.member", user, json!({ "membership": "invite" }))
}

pub(crate) async fn send_invite(server: &TestServer, peer: &Peer, pdu: &Pdu, body: Value) -> Answer {
    let path = path("v2/invite", &[pdu.room_id().as_str(), pdu.event_id().as_str()]);
    peer.put(server, &path, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_are_signed_and_shown() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        for version in [RoomVersion::V1, RoomVersion::V10, RoomVersion::V12] {
            let (room, create) = room_of(&peer, version);
            let pdu = invite(&peer, version, &room, &alice.id);
            let state = json!([json_of(&create)]);
            let answer = match version {
                RoomVersion::V1 => {
                    let mut body = json_of(&pdu);
                    body["unsigned"] = json!({ "invite_room_state": state });
                    let path = path("v1/invite", &[&room, pdu.event_id().as_str()]);
                    let answer = peer.put(&server, &path, body).await;
                    assert_eq!(answer.ok()[0], 200);
                    answer.body[1].clone()
                }
                _ => {
                    let body = json!({ "room_version": version, "event": json_of(&pdu), "invite_room_state": state });
                    send_invite(&server, &peer, &pdu, body).await.ok().clone()
                }
            };
            let signed = Pdu::parse(&answer["event"].to_string(), version).expect("the event");
            assert_eq!(signed.event_id(), pdu.event_id());
            assert!(answer["event"]["signatures"]["test.example"].is_object(), "{answer}");
            let sync = server.get("/_matrix/client/v3/sync", &alice.token).await;
            let events = sync.ok()["rooms"]["invite"][&room]["invite_state"]["events"].clone();
            let types: Vec<_> = events.as_array().into_iter().flatten().filter_map(|it| it["type"].as_str()).collect();
            assert_eq!(types, ["m.room.create", "m.room.member"], "version {version}");
            let keys: Vec<_> = events[0].as_object().into_iter().flat_map(|event| event.keys()).collect();
            assert_eq!(keys, ["content", "sender", "state_key", "type"], "clients are given stripped state");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_invites_are_refused() {
    for server in TestServer::on_each().await {
        let (peer, liar, alice) = (Peer::start().await, Peer::start().await, server.register("alice").await);
        let version = RoomVersion::V12;
        let (room, create) = room_of(&peer, version);
        let body = |pdu: &Pdu, state: Value| {
            let event = json_of(pdu);
            json!({ "room_version": "12", "event": event, "invite_room_state": state })
        };
        let state = json!([json_of(&create)]);
        let pdu = invite(&peer, version, &room, &alice.id);
        let mut unsupported = body(&pdu, state.clone());
        unsupported["room_version"] = json!("org.example.13");
        let answer = send_invite(&server, &peer, &pdu, unsupported).await;
        assert_eq!(answer.refusal(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
        assert_eq!(send_invite(&server, &peer, &pdu, body(&pdu, json!([]))).await.refusal(), (400, "M_INVALID_PARAM"));
        let other = invite(&peer, version, &room, "@nobody:test.example");
        assert_eq!(
            send_invite(&server, &peer, &other, body(&other, state.clone())).await.refusal(),
            (404, "M_NOT_FOUND")
        );
        assert_eq!(
            send_invite(&server, &peer, &other, body(&pdu, state.clone())).await.refusal(),
            (400, "M_INVALID_PARAM")
        );
        let foreign = invite(&peer, version, &room, "@carol:else.example");
        let answer = send_invite(&server, &peer, &foreign, body(&foreign, state.clone())).await;
        assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"));
        // In the name of another server.
        assert_eq!(
            send_invite(&server, &liar, &pdu, body(&pdu, state.clone())).await.refusal(),
            (400, "M_INVALID_PARAM")
        );
        // A room's state that another server made up.
        let (_, fake) = room_of(&liar, version);
        let answer = send_invite(&server, &peer, &pdu, body(&pdu, json!([json_of(&fake)]))).await;
        assert_eq!(answer.refusal(), (400, "M_INVALID_PARAM"));
        let sync = server.get("/_matrix/client/v3/sync", &alice.token).await;
        assert!(sync.ok()["rooms"]["invite"].as_object().is_none_or(|rooms| rooms.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_invites_are_refused() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let path_of_data = format!("/_matrix/client/v3/user/{}/account_data/m.invite_permission_config", alice.id);
        server.put(&path_of_data, &alice.token, json!({ "default_action": "block" })).await.ok();
        let (room, create) = room_of(&peer, RoomVersion::V1);
        let pdu = invite(&peer, RoomVersion::V1, &room, &alice.id);
        let mut body = json_of(&pdu);
        body["unsigned"] = json!({ "invite_room_state": [json_of(&create)] });
        let first_version = peer.put(&server, &path("v1/invite", &[&room, pdu.event_id().as_str()]), body).await;
        assert_eq!(first_version.refusal(), (403, "M_INVITE_BLOCKED"));
        let (room, create) = room_of(&peer, RoomVersion::V12);
        let pdu = invite(&peer, RoomVersion::V12, &room, &alice.id);
        let state = json!([json_of(&create)]);
        let body = json!({ "room_version": "12", "event": json_of(&pdu), "invite_room_state": state });
        assert_eq!(send_invite(&server, &peer, &pdu, body).await.refusal(), (403, "M_INVITE_BLOCKED"));
        let sync = server.get("/_matrix/client/v3/sync", &alice.token).await;
        assert!(sync.ok()["rooms"]["invite"].as_object().is_none_or(|rooms| rooms.is_empty()));
    }
}

/// The content of the invite that a peer receives when its user Bob is invited; `profile` answers for his profile.
async fn invited_with<F>(
    server: &TestServer,
    name: &str,
    profile: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> Value
where
    F: Future<Output = Value> + Send,
{
    let answer = move || {
        let profile = profile.clone();
        async move { JsonBody(profile().await) }
    };
    let routes = |_: &ServerName| Router::new().route("/_matrix/federation/v1/query/profile", get(answer));
    let (peer, alice) = (Peer::answering(routes).await, server.register(name).await);
    let room = public_room(server, &alice, "12").await;
    let invite = json!({ "user_id": peer.user("bob") });
    // The peer does not know what to do with it.
    assert_ne!(server.post(&room_path(&room, "invite"), &alice.token, invite).await.status, 200);
    let asked = peer.receives(|request| request.uri.contains("/v2/invite/")).await;
    let body: Value = serde_json::from_slice(&asked.body).expect("a body");
    body["event"]["content"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_invites_show_the_invited_if_their_server_tells_quickly() {
    for server in TestServer::on_each().await {
        let profile = || async { json!({ "displayname": "Bob", "avatar_url": "mxc://x/y", "m.tz": "UTC" }) };
        let shown = json!({ "membership": "invite", "displayname": "Bob", "avatar_url": "mxc://x/y" });
        assert_eq!(invited_with(&server, "a1", profile).await, shown);
        // What no member event may hold is left out.
        let wrong = || async { json!({ "displayname": "B".repeat(257), "avatar_url": ["mxc://x/y"] }) };
        assert_eq!(invited_with(&server, "a2", wrong).await, json!({ "membership": "invite" }));
        // Nor is anybody waited for.
        let never = || std::future::pending::<Value>();
        assert_eq!(invited_with(&server, "a3", never).await, json!({ "membership": "invite" }));
    }
    let place = plexus_testkit::TestPlace::sqlite();
    let hides = "include_profile_data_on_invite: false";
    let server = TestServer::on(place).config(hides).start().await;
    let profile = || async { json!({ "displayname": "Bob" }) };
    assert_eq!(invited_with(&server, "a1", profile).await, json!({ "membership": "invite" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_invited_by_the_old_way() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice, "1").await;
        let invite = json!({ "user_id": peer.user("bob") });
        assert_ne!(server.post(&room_path(&room, "invite"), &alice.token, invite).await.status, 200);
        let asked = peer.receives(|request| request.uri.contains("/v1/invite/")).await;
        let event: Value = serde_json::from_slice(&asked.body).expect("a body");
        assert_eq!(event["content"], json!({ "membership": "invite" }));
        let state = event["unsigned"]["invite_room_state"].as_array().map(Vec::len);
        assert!(state.is_some_and(|events| events > 0), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_invites_bring_whole_events() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice, "12").await;
        let invite = json!({ "user_id": peer.user("bob") });
        // The peer does not know what to do with it.
        assert_ne!(server.post(&room_path(&room, "invite"), &alice.token, invite).await.status, 200);
        let asked = peer.receives(|request| request.uri.contains("/v2/invite/")).await;
        let body: Value = serde_json::from_slice(&asked.body).expect("a body");
        let state = body["invite_room_state"].as_array().cloned().unwrap_or_default();
        let state = state.iter().map(|event| Pdu::parse(&event.to_string(), RoomVersion::V12).expect("a whole event"));
        let state: Vec<Pdu> = state.collect();
        assert!(state.iter().all(|pdu| pdu.room_id().as_str() == room && pdu.content_hash_matches()));
        let types: Vec<_> = state.iter().map(Pdu::event_type).collect();
        assert_eq!(types, ["m.room.create", "m.room.join_rules", "m.room.member"]);
    }
}
