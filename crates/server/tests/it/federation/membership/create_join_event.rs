//! `PUT /send_join/{room_id}/{event_id}`.

use std::collections::HashSet;

use http::Method;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::{KnownKey, PublicKey, verify};
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::Peer;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{create, room_path};
use crate::federation::{join, json_of, make, membership, path, pdus, public_room, set, signed, submit};

/// Whether everything that allowed these events is among them.
fn assert_complete(pdus: &[Pdu]) {
    let ids: HashSet<&EventId> = pdus.iter().map(Pdu::event_id).collect();
    for pdu in pdus {
        for id in pdu.auth_events() {
            assert!(ids.contains(id), "{} lacks {id}", pdu.event_id());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_in_rooms_of_many_versions() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let bob = peer.user("bob");
        for version in ["1", "3", "6", "11", "12"] {
            let room = public_room(&server, &alice, version).await;
            let made = make(&server, &peer, "join", &room, &bob).await;
            let event = &made.ok()["event"];
            assert_eq!(made.body["room_version"], version);
            assert_eq!(event["content"], json!({ "membership": "join" }));
            assert_eq!(
                (&event["sender"], &event["state_key"], &event["room_id"]),
                (&json!(bob), &json!(bob), &json!(room))
            );
            let pdu = signed(&peer, &made, |_| {});
            let answer = submit(&server, &peer, "v2/send_join", &room, &pdu, "").await;
            assert_eq!(
                (&answer.ok()["members_omitted"], &answer.body["origin"]),
                (&json!(false), &json!("test.example"))
            );
            assert_eq!(answer.body["event"], json_of(&pdu));
            let state = pdus(&answer, "state", pdu.room_version());
            assert!(state.iter().any(|pdu| pdu.event_type() == "m.room.create"), "version {version}");
            assert!(state.iter().any(|pdu| pdu.is_state("m.room.member", &alice.id)));
            assert!(!state.iter().any(|pdu| pdu.is_state("m.room.member", &bob)));
            let mut all = pdus(&answer, "auth_chain", pdu.room_version());
            all.extend(state);
            all.push(pdu.clone());
            assert_complete(&all);
            assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("join"));
            // The same once more.
            submit(&server, &peer, "v2/send_join", &room, &pdu, "").await.ok();
            // And by an old server.
            let old = submit(&server, &peer, "v1/send_join", &room, &pdu, "").await;
            assert_eq!(old.ok().as_array().map(Vec::len), Some(2), "{}", old.body);
            assert_eq!(old.body[0], 200);
            for member in ["state", "auth_chain", "event"] {
                assert_eq!(old.body[1][member], answer.body[member], "{member}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_not_for_everybody() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice, "11").await;
        let bob = peer.user("bob");
        let ask = async |room: &str, user: &str, query: &str| {
            peer.get(&server, &format!("{}{query}", path("v1/make_join", &[room, user]))).await
        };
        let answer = ask(&room, &bob, "").await;
        assert_eq!(answer.refusal(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
        assert_eq!(answer.body["room_version"], "11");
        assert_eq!(ask(&room, &bob, "?ver=9&ver=10").await.refusal(), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
        assert_eq!(ask(&room, "@bob:else.example", "?ver=11").await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(ask("!unknown:test.example", &bob, "?ver=11").await.refusal(), (404, "M_NOT_FOUND"));
        ask(&room, &bob, "?ver=10&ver=11").await.ok();

        let closed = create(&server, &alice, json!({ "room_version": "11" })).await;
        assert_eq!(ask(&closed, &bob, "?ver=11").await.refusal(), (403, "M_FORBIDDEN"));
        set(&server, &alice, &room, "m.room.server_acl", json!({ "allow": ["*"], "allow_ip_literals": false })).await;
        assert_eq!(ask(&room, &bob, "?ver=11").await.refusal(), (403, "M_FORBIDDEN"));
        // Nobody of ours is left in the room.
        let left = public_room(&server, &alice, "11").await;
        server.post(&room_path(&left, "leave"), &alice.token, json!({})).await.ok();
        assert_eq!(ask(&left, &bob, "?ver=11").await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_joins_are_refused() {
    for server in TestServer::on_each().await {
        let (peer, other, alice) = (Peer::start().await, Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice, "11").await;
        let made = make(&server, &peer, "join", &room, &peer.user("bob")).await;
        let send = async |pdu: &Pdu| submit(&server, &peer, "v2/send_join", &room, pdu, "").await;
        let changed = |change: fn(&mut Value)| signed(&peer, &made, change);
        for (what, pdu) in [
            ("a leave", changed(|event| event["content"]["membership"] = json!("leave"))),
            ("a message", changed(|event| event["type"] = json!("m.room.message"))),
            ("of somebody else", changed(|event| event["sender"] = json!("@eve:else.example"))),
            ("for somebody else", changed(|event| event["state_key"] = json!("@eve:else.example"))),
            ("of another room", changed(|event| event["room_id"] = json!("!other:test.example"))),
            ("signed by another", signed(&other, &made, |_| {})),
        ] {
            assert_eq!(send(&pdu).await.refusal(), (400, "M_INVALID_PARAM"), "{what}");
        }
        let pdu = changed(|_| {});
        let wrong_id = path("v2/send_join", &[&room, "$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE"]);
        assert_eq!(peer.put(&server, &wrong_id, json_of(&pdu)).await.refusal(), (400, "M_INVALID_PARAM"));
        // Banned since the template was made.
        let ban = json!({ "user_id": peer.user("bob") });
        server.post(&room_path(&room, "ban"), &alice.token, ban).await.ok();
        assert_eq!(send(&pdu).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(send(&pdu).await.refusal(), (403, "M_FORBIDDEN"), "the same once more");
        assert_eq!(membership(&server, &alice, &room, &peer.user("bob")).await.as_deref(), Some("ban"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_may_be_omitted() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        for (name, members) in [(json!("A room"), 0), (Value::Null, 3)] {
            let body = json!({ "preset": "public_chat", "name": name, "room_version": "10" });
            let room = create(&server, &alice, body).await;
            for guest in ["bob", "carol"] {
                join(&server, &peer, &room, &peer.user(guest)).await;
            }
            let made = make(&server, &peer, "join", &room, &peer.user("dave")).await;
            let pdu = signed(&peer, &made, |_| {});
            let answer = submit(&server, &peer, "v2/send_join", &room, &pdu, "?omit_members=true").await;
            assert_eq!(answer.ok()["members_omitted"], true);
            assert_eq!(answer.body["servers_in_room"], json!([peer.name(), "test.example"]));
            let state = pdus(&answer, "state", RoomVersion::V10);
            let sent: Vec<_> = state.iter().filter(|pdu| pdu.event_type() == "m.room.member").collect();
            assert_eq!(sent.len(), members, "named {name}");
            let chain = pdus(&answer, "auth_chain", RoomVersion::V10);
            assert!(!chain.iter().any(|pdu| state.contains(pdu)), "nothing is sent twice");
            assert_complete(&[chain, state, vec![pdu]].concat());
        }
    }
}

/// Whether a server's own key is good for one of the signatures of an event.
async fn is_signed_by(server: &TestServer, pdu: &Pdu, peer: &Peer) -> bool {
    let keys = server.request(Method::GET, "/_matrix/key/v2/server", None, None).await;
    let keys = keys.ok()["verify_keys"].as_object().cloned().unwrap_or_default();
    let known = |name: &str, key_id: &str| {
        let key = match name {
            "test.example" => PublicKey::parse(keys.get(key_id)?["key"].as_str()?).ok()?,
            name if name == peer.name().as_str() => peer.key().public_key(),
            _ => return None,
        };
        Some(KnownKey { key, valid_until_ts: u64::MAX })
    };
    verify(pdu, &known).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_rooms() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let bob = peer.user("bob");
        let (allowed, room) = (public_room(&server, &alice, "11").await, public_room(&server, &alice, "11").await);
        let rules =
            |of: &str| json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": of }] });
        set(&server, &alice, &room, "m.room.join_rules", rules("!nowhere:else.example")).await;
        let refused = make(&server, &peer, "join", &room, &bob).await;
        assert_eq!(refused.refusal(), (400, "M_UNABLE_TO_AUTHORISE_JOIN"));
        // Where there is nothing that another server could know better.
        for (allow, refusal) in [
            (json!([]), (403, "M_FORBIDDEN")),
            (json!([1, {}, { "type": "m.room_membership" }]), (403, "M_FORBIDDEN")),
            (Value::Null, (403, "M_FORBIDDEN")),
            (json!([{ "type": "org.example.friends" }]), (400, "M_UNABLE_TO_AUTHORISE_JOIN")),
        ] {
            for join_rule in ["restricted", "knock_restricted"] {
                set(&server, &alice, &room, "m.room.join_rules", json!({ "join_rule": join_rule, "allow": allow }))
                    .await;
                let refused = make(&server, &peer, "join", &room, &bob).await;
                assert_eq!(refused.refusal(), refusal, "{join_rule} {allow}");
            }
        }
        set(&server, &alice, &room, "m.room.join_rules", rules(&allowed)).await;
        assert_eq!(make(&server, &peer, "join", &room, &bob).await.refusal(), (403, "M_FORBIDDEN"));

        join(&server, &peer, &allowed, &bob).await;
        let made = make(&server, &peer, "join", &room, &bob).await;
        assert_eq!(made.ok()["event"]["content"]["join_authorised_via_users_server"], alice.id.as_str());
        // Somebody else does not get in with what was made for Bob.
        let eve = peer.user("eve");
        let forged = signed(&peer, &made, |event| {
            event["sender"] = json!(eve);
            event["state_key"] = json!(eve);
        });
        let answer = submit(&server, &peer, "v2/send_join", &room, &forged, "").await;
        assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
        let pdu = signed(&peer, &made, |_| {});
        let answer = submit(&server, &peer, "v2/send_join", &room, &pdu, "").await;
        let event = Pdu::parse(&answer.ok()["event"].to_string(), RoomVersion::V11).expect("the event");
        assert_eq!(event.event_id(), pdu.event_id());
        assert!(is_signed_by(&server, &event, &peer).await, "{event:?}");
        assert!(!is_signed_by(&server, &pdu, &peer).await, "the test tells the two apart");
        assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("join"));

        // Alice may let nobody in any more.
        let levels = server.get(&room_path(&room, "state/m.room.power_levels"), &alice.token).await;
        let mut levels = levels.ok().clone();
        levels["invite"] = json!(100);
        levels["users"][&alice.id] = json!(99);
        set(&server, &alice, &room, "m.room.power_levels", levels).await;
        join(&server, &peer, &allowed, &eve).await;
        let refused = make(&server, &peer, "join", &room, &eve).await;
        assert_eq!(refused.refusal(), (400, "M_UNABLE_TO_GRANT_JOIN"));
    }
}
