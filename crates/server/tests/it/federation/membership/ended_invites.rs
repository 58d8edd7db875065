//! How local users learn that an invite to a room of other servers has ended.

use plexus_protocol::event::Pdu;
use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::id::RoomId;
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{Peer, unique_name};
use serde_json::{Value, json};

use crate::client::room_path;
use crate::federation::membership::create_invite::room_of;
use crate::federation::{json_of, path};

const VERSION: RoomVersion = RoomVersion::V11;

/// A member event of Alice's in the room, sent by a user of the peer.
fn member(peer: &Peer, room: &str, alice: &str, membership: &str, auth_events: &[&Pdu]) -> Pdu {
    PduBuilder {
        room_id: Some(RoomId::try_from(room).expect("a room id")),
        sender: peer.user("bob").as_str().try_into().expect("a user id"),
        event_type: "m.room.member".to_owned(),
        state_key: Some(alice.to_owned()),
        content: Object::from([("membership", membership), ("reason", "so it is")]),
        unsigned: None,
        redacts: None,
        prev_events: Vec::new(),
        auth_events: auth_events.iter().map(|pdu| pdu.event_id().clone()).collect(),
        depth: 1,
        origin_server_ts: 1_700_000_000_000,
    }
    .build(VERSION, peer.key(), peer.name())
    .expect("an event")
}

/// Has the peer's Bob invite Alice to a room of the peer's. Returns the room and the invite.
async fn invite(server: &TestServer, peer: &Peer, alice: &TestUser, levels: Option<Value>) -> (String, Pdu) {
    let (room, create) = room_of(peer, VERSION);
    let room = room.replace("!elsewhere", &format!("!{}", unique_name()));
    let pdu = member(peer, &room, &alice.id, "invite", &[]);
    let mut state = vec![json_of(&create)];
    if let Some(levels) = levels {
        let event = json!({
            "type": "m.room.power_levels", "state_key": "", "sender": peer.user("bob"), "content": levels,
        });
        state.push(event);
    }
    let body = json!({ "room_version": VERSION, "event": json_of(&pdu), "invite_room_state": state });
    peer.put(server, &path("v2/invite", &[&room, pdu.event_id().as_str()]), body).await.ok();
    (room, pdu)
}

async fn send(server: &TestServer, peer: &Peer, pdu: &Pdu) {
    let body = json!({ "origin": peer.name().as_str(), "origin_server_ts": 1, "pdus": [json_of(pdu)] });
    peer.put(server, &path("v1/send", &[&unique_name()]), body).await.ok();
}

async fn sync(server: &TestServer, user: &TestUser, query: &str) -> Value {
    server.get(&format!("/_matrix/client/v3/sync{query}"), &user.token).await.ok().clone()
}

async fn is_invited(server: &TestServer, alice: &TestUser, room: &str) -> bool {
    sync(server, alice, "").await["rooms"]["invite"].get(room).is_some()
}

/// What the timeline of the left room shows since `before`, which is one event.
async fn shown(server: &TestServer, user: &TestUser, room: &str, before: &Value) -> Value {
    let shown = sync(server, user, &format!("?since={}", before["next_batch"].as_str().unwrap_or_default())).await;
    let left = &shown["rooms"]["leave"][room];
    let events = left["timeline"]["events"].as_array().cloned().unwrap_or_default();
    assert_eq!(events.len(), 1, "{shown}");
    assert_eq!(left["timeline"]["limited"], false);
    assert!(shown["rooms"]["invite"].get(room).is_none(), "{shown}");
    events[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_shows_the_end() {
    for mut server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        for membership in ["leave", "ban"] {
            let (room, invite) = invite(&server, &peer, &alice, None).await;
            let before = sync(&server, &alice, "").await;
            let end = member(&peer, &room, &alice.id, membership, &[&invite]);
            send(&server, &peer, &end).await;
            let seen = shown(&server, &alice, &room, &before).await;
            assert_eq!(seen["event_id"], end.event_id().as_str());
            assert_eq!(
                (&seen["content"]["membership"], &seen["sender"]),
                (&json!(membership), &json!(peer.user("bob")))
            );
            assert_eq!(seen["content"]["reason"], "so it is");
            server.restart().await;
            let seen = shown(&server, &alice, &room, &before).await;
            assert_eq!(seen["event_id"], end.event_id().as_str(), "after a restart");
            let all = sync(&server, &alice, "?filter=%7B%22room%22:%7B%22include_leave%22:true%7D%7D").await;
            let events = &all["rooms"]["leave"][&room]["timeline"]["events"];
            assert_eq!(events[0]["event_id"], end.event_id().as_str(), "{all}");
        }
    }
}

/// A server that was in the room, and its user, with the power levels that came with the invite.
#[tokio::test(flavor = "multi_thread")]
async fn other_servers_may_end_an_invite() {
    for server in TestServer::on_each().await {
        let (peer, other, alice) = (Peer::start().await, Peer::start().await, server.register("alice").await);
        let powerful = json!({ "users": { other.user("bob"): 50 } });
        let powerless = json!({ "users": { other.user("bob"): 49 } });
        let as_powerful = json!({ "users": { other.user("bob"): 50, alice.id.as_str(): 50 } });
        let bans = json!({ "users": { other.user("bob"): 50 }, "ban": 51 });
        for (what, levels, membership, names_invite, ends) in [
            ("somebody of another server", None, "leave", true, true),
            ("somebody who does not know the invite", None, "leave", false, false),
            ("a moderator", Some(powerful.clone()), "leave", true, true),
            ("a moderator who does not know the invite", Some(powerful), "leave", false, false),
            ("a member without power", Some(powerless), "leave", true, false),
            ("a member of no more power", Some(as_powerful), "leave", true, false),
            ("a moderator who may not ban", Some(bans), "ban", true, false),
        ] {
            let (room, invite) = invite(&server, &peer, &alice, levels).await;
            let named: &[&Pdu] = if names_invite { &[&invite] } else { &[] };
            send(&server, &other, &member(&other, &room, &alice.id, membership, named)).await;
            assert_eq!(is_invited(&server, &alice, &room).await, !ends, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_earlier_invite_ends_no_later_one() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let (room, invite) = invite(&server, &peer, &alice, None).await;
        let end = member(&peer, &room, &alice.id, "leave", &[&invite]);
        send(&server, &peer, &end).await;
        assert!(!is_invited(&server, &alice, &room).await);
        let again = member(&peer, &room, &alice.id, "invite", &[&end]);
        let body = json!({ "room_version": VERSION, "event": json_of(&again), "invite_room_state": [] });
        peer.put(&server, &path("v2/invite", &[&room, again.event_id().as_str()]), body).await.ok();
        send(&server, &peer, &end).await;
        assert!(is_invited(&server, &alice, &room).await);
    }
}

/// On one device, of an invite whose server does not answer: every device learns of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_is_declined() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let tablet = server.log_in("alice").await;
        let (room, _) = invite(&server, &peer, &alice, None).await;
        let (before, on_tablet) = (sync(&server, &alice, "").await, sync(&server, &tablet, "").await);
        server.post(&room_path(&room, "leave"), &alice.token, json!({ "reason": "no time" })).await.ok();
        peer.receives(|request| request.uri.contains("/make_leave/")).await;
        for (device, before) in [(&alice, before), (&tablet, on_tablet)] {
            let seen = shown(&server, device, &room, &before).await;
            assert_eq!((&seen["sender"], &seen["content"]["membership"]), (&json!(alice.id), &json!("leave")));
            assert_eq!(seen["content"]["reason"], "no time");
        }
        server.post(&room_path(&room, "forget"), &alice.token, json!({})).await.ok();
    }
}
