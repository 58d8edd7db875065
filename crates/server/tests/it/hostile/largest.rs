//! Events as large as events may be, to which another signature is to be added.

use plexus_protocol::event::MAX_PDU;

use super::templates::restricted_room;
use super::*;
use crate::client::room_path;
use crate::federation::membership::create_invite::room_of;

/// Returns an event of exactly `bytes` bytes; `build` gets the length of its padding.
fn of_size(bytes: usize, build: impl Fn(usize) -> Pdu) -> Pdu {
    let event = build(bytes - build(0).json().len());
    assert_eq!(event.json().len(), bytes);
    event
}

fn json_of(pdu: &Pdu) -> Value {
    serde_json::from_str(pdu.json()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_without_room_for_our_signature_is_refused() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let (server, liar) = (&stage.server, &stage.liar);
        let room = restricted_room(&stage, "11", &stage.room, json!({})).await;
        let made = federation::make(server, &liar.peer, "join", &room, &liar.mallory).await;
        let join = |length: usize| {
            federation::signed(&liar.peer, &made, |event| event["content"]["padding"] = json!("x".repeat(length)))
        };
        let submit = async |join: &Pdu| {
            let path = federation::path("v2/send_join", &[&room, join.event_id().as_str()]);
            liar.peer.put(server, &path, json_of(join)).await
        };
        assert_eq!(submit(&of_size(MAX_PDU, join)).await.refusal(), (413, "M_TOO_LARGE"));
        assert_eq!(federation::membership(server, &stage.alice, &room, &liar.mallory).await, None);
        let answer = submit(&of_size(MAX_PDU - 500, join)).await;
        let signed = Pdu::parse(&answer.ok()["event"].to_string(), RoomVersion::V11).expect("an event");
        assert!(signed.json().len() > MAX_PDU - 500, "our signature is there");
        assert_eq!(federation::membership(server, &stage.alice, &room, &liar.mallory).await.as_deref(), Some("join"));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_without_room_for_our_signature_is_refused() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let (server, alice, liar) = (&stage.server, &stage.alice, &stage.liar);
        let (room, create) = room_of(&liar.peer, RoomVersion::V11);
        let invite = |length: usize| {
            let event = json!({
                "type": "m.room.member", "state_key": alice.id, "sender": liar.mallory, "room_id": room, "depth": 1,
                "origin_server_ts": 1_700_000_000_000_u64, "auth_events": [], "prev_events": [],
                "content": { "membership": "invite", "padding": "x".repeat(length) },
            });
            Pdu::parse(&forge(event, RoomVersion::V11, &liar.peer).to_string(), RoomVersion::V11).expect("an event")
        };
        let send = async |invite: &Pdu| {
            let path = federation::path("v2/invite", &[&room, invite.event_id().as_str()]);
            let state = [json_of(&create)];
            let body = json!({ "room_version": "11", "event": json_of(invite), "invite_room_state": state });
            liar.peer.put(server, &path, body).await
        };
        assert_eq!(send(&of_size(MAX_PDU, invite)).await.refusal(), (413, "M_TOO_LARGE"));
        let sync = server.get(&format!("{CLIENT}/sync"), &alice.token).await;
        assert!(sync.ok()["rooms"]["invite"].as_object().is_none_or(|rooms| rooms.is_empty()));
        send(&of_size(MAX_PDU - 500, invite)).await.ok();
        stage.is_usable().await;
    }
}

/// Adds the signature of an invited user's server, whatever becomes of the event's size.
fn countersigned(body: &Value, key: &SigningKey, name: &str) -> Value {
    let mut event = body["event"].clone();
    let pdu = Pdu::parse(&event.to_string(), RoomVersion::V11).expect("an event");
    event["signatures"][name] = json!({ key.key_id(): key.sign(pdu.signable_json().as_bytes()) });
    json!({ "event": event })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_without_room_for_the_signature_of_another_server_is_refused() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let peer = Peer::telling(|name, key| {
            // Until the year 2100.
            let keys = Peer::keys(name, key, 4_102_444_800_000).to_json();
            let (name, key) = (name.to_string(), key.clone());
            let answer = async move |plexus_testkit::AnyJson(body): plexus_testkit::AnyJson| {
                plexus_http::JsonBody(countersigned(&body, &key, &name))
            };
            Router::new()
                .route("/_matrix/federation/v2/invite/{room_id}/{event_id}", axum::routing::put(answer))
                .route("/_matrix/key/v2/server", axum::routing::get(async move || keys))
        });
        let peer = peer.await;
        let invite = async |name: &str, reason: usize| {
            let body = json!({ "user_id": peer.user(name), "reason": "x".repeat(reason) });
            stage.server.post(&room_path(&stage.room, "invite"), &stage.alice.token, body).await
        };
        // Each is larger than the one before, by less than a signature.
        let mut refused = None;
        for (number, without_reason) in (500..1_000).rev().step_by(90).enumerate() {
            let name = format!("eve{number}");
            let answer = invite(&name, MAX_PDU - without_reason).await;
            let asked = peer.received().iter().filter(|request| request.uri.contains("/invite/")).count();
            assert_eq!(asked, number + 1, "it fits without the signature: {answer:?}");
            if answer.status != 200 {
                refused = Some((answer, name));
                break;
            }
        }
        let (answer, name) = refused.expect("the last is too large");
        assert_eq!(answer.refusal(), (413, "M_TOO_LARGE"));
        assert_eq!(federation::membership(&stage.server, &stage.alice, &stage.room, &peer.user(&name)).await, None);
        stage.is_usable().await;
    }
}
