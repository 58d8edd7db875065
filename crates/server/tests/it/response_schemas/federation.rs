//! Everything that another server asks for.

use http::Method;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use serde_json::{Value, json};

use super::{C, Stage};
use crate::client::media::GIF;
use crate::client::{create, say};
use crate::federation::membership::create_invite::{invite, room_of};
use crate::federation::{join, json_of, make, path, signed, submit};

pub(super) async fn use_all(stage: &Stage) {
    let peer = Peer::start().await;
    open(stage, &peer).await;
    people(stage, &peer).await;
    come_and_go(stage, &peer).await;
    history(stage, &peer).await;
    invites(stage, &peer).await;
}

async fn open(stage: &Stage, peer: &Peer) {
    let server = &stage.server;
    let token = stage.post(&format!("{C}/user/{}/openid/request_token", stage.alice.id), json!({})).await;
    let token = token["access_token"].as_str().expect("a token");
    for path in [
        "/.well-known/matrix/server",
        "/_matrix/federation/v1/version",
        "/_matrix/key/v2/server",
        "/_matrix/key/v2/query/test.example",
        &format!("/_matrix/federation/v1/openid/userinfo?access_token={token}"),
    ] {
        server.request(Method::GET, path, None, None).await;
    }
    let keys = json!({ "server_keys": { "test.example": {} } });
    peer.post(server, "/_matrix/key/v2/query", keys).await.ok();
}

async fn people(stage: &Stage, peer: &Peer) {
    let (server, alice) = (&stage.server, &stage.alice);
    let keys = json!({
        "device_keys": crate::client::keys::device_keys(alice),
        "one_time_keys": { "signed_curve25519:AAAAAQ": { "key": "one", "signatures": {} } },
    });
    stage.post(&format!("{C}/keys/upload"), keys).await;
    stage.put(&format!("{C}/profile/{}/displayname", alice.id), json!({ "displayname": "Alice" })).await;
    let query = json!({ "device_keys": { &alice.id: [] } });
    peer.post(server, &path("v1", &["user", "keys", "query"]), query).await.ok();
    let claim = json!({ "one_time_keys": { &alice.id: { &alice.device_id: "signed_curve25519" } } });
    peer.post(server, &path("v1", &["user", "keys", "claim"]), claim).await.ok();
    peer.get(server, &path("v1", &["user", "devices", &alice.id])).await.ok();
    for user in [&alice.id, &stage.bob.id] {
        peer.get(server, &format!("/_matrix/federation/v1/query/profile?user_id={user}")).await.ok();
    }
    stage.put(&format!("{C}/directory/room/%23one:test.example"), json!({ "room_id": stage.room })).await;
    peer.get(server, "/_matrix/federation/v1/query/directory?room_alias=%23one:test.example").await.ok();
    peer.get(server, "/_matrix/federation/v1/publicRooms?limit=5").await.ok();
    let filter = json!({ "filter": { "generic_search_term": "room" }, "limit": 5 });
    peer.post(server, "/_matrix/federation/v1/publicRooms", filter).await.ok();
    let headers = [("Content-Type", "image/gif")];
    let uploaded =
        server.send(Method::POST, "/_matrix/media/v3/upload", Some(&alice.token), &headers, GIF.into()).await;
    let id = uploaded.ok()["content_uri"].as_str().expect("a URI").replace("mxc://test.example/", "");
    peer.get(server, &format!("/_matrix/federation/v1/media/download/{id}")).await;
    peer.get(server, &format!("/_matrix/federation/v1/media/thumbnail/{id}?width=2&height=2")).await;
}

async fn come_and_go(stage: &Stage, peer: &Peer) {
    let server = &stage.server;
    join(server, peer, &stage.room, &peer.user("bob")).await;
    join(server, peer, &stage.room, &peer.user("carol")).await;
    let made = make(server, peer, "leave", &stage.room, &peer.user("carol")).await;
    let leave = signed(peer, &made, |_| {});
    submit(server, peer, "v2/send_leave", &stage.room, &leave, "").await.ok();
    let rules = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } });
    let room = create(server, &stage.alice, json!({ "preset": "private_chat", "initial_state": [rules] })).await;
    let made = make(server, peer, "knock", &room, &peer.user("bob")).await;
    let knock = signed(peer, &made, |_| {});
    submit(server, peer, "v1/send_knock", &room, &knock, "").await.ok();
}

async fn history(stage: &Stage, peer: &Peer) {
    let (server, room) = (&stage.server, &stage.room);
    let first = say(server, &stage.alice, room, "one").await;
    let last = say(server, &stage.alice, room, "two").await;
    peer.get(server, &format!("{}?v={last}&limit=10", path("v1/backfill", &[room]))).await.ok();
    peer.get(server, &path("v1/event", &[&last])).await.ok();
    peer.get(server, &path("v1/event_auth", &[room, &last])).await.ok();
    peer.get(server, &format!("{}?event_id={last}", path("v1/state", &[room]))).await.ok();
    peer.get(server, &format!("{}?event_id={last}", path("v1/state_ids", &[room]))).await.ok();
    peer.get(server, &path("v1/hierarchy", &[room])).await.ok();
    let nothing = format!("{}?ts=0&dir=f", path("v1/timestamp_to_event", &[room]));
    peer.get(server, &nothing).await.ok();
    let missing = json!({ "earliest_events": [first], "latest_events": [last], "limit": 10 });
    peer.post(server, &path("v1/get_missing_events", &[room]), missing).await.ok();
    let typing =
        json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": peer.user("bob"), "typing": true } });
    let wrong: Value = json!({ "type": "m.room.message", "room_id": room });
    let transaction = json!({
        "origin": peer.name().as_str(), "origin_server_ts": 1_700_000_000_000_u64, "edus": [typing], "pdus": [wrong],
    });
    peer.put(server, &path("v1/send", &["t1"]), transaction).await.ok();
}

async fn invites(stage: &Stage, peer: &Peer) {
    let alice = &stage.alice.id;
    for version in [RoomVersion::V1, RoomVersion::V11] {
        let (room, create) = room_of(peer, version);
        let pdu = invite(peer, version, &room, alice);
        let state = json!([json_of(&create)]);
        let (base, body) = if version == RoomVersion::V1 {
            let mut body = json_of(&pdu);
            body["unsigned"] = json!({ "invite_room_state": state });
            ("v1/invite", body)
        } else {
            ("v2/invite", json!({ "room_version": version, "event": json_of(&pdu), "invite_room_state": state }))
        };
        peer.put(&stage.server, &path(base, &[&room, pdu.event_id().as_str()]), body).await.ok();
    }
}
