//! Events of a room, for the servers in it.

mod get_event_by_timestamp;
mod get_room_state;

use plexus_protocol::rules::RoomVersion;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{Peer, unique_name};
use serde_json::{Value, json};

use crate::client::{room_path, say};
use crate::federation::{bodies, join, make, path, pdus, public_room, set, signed, submit};

const FIRST: &str = "$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE";

/// A room of Alice's in which Bob, of the peer, is.
pub(crate) async fn shared(server: &TestServer, peer: &Peer, alice: &TestUser) -> String {
    let room = public_room(server, alice, "11").await;
    join(server, peer, &room, &peer.user("bob")).await;
    room
}

pub(crate) async fn ask(server: &TestServer, peer: &Peer, base: &str, segments: &[&str], query: &str) -> Answer {
    peer.get(server, &format!("{}{query}", path(base, segments))).await
}

pub(crate) async fn missing(server: &TestServer, peer: &Peer, room: &str, body: Value) -> Answer {
    peer.post(server, &format!("/_matrix/federation/v1/get_missing_events/{room}"), body).await
}

/// Every question about a room, with an event of it.
async fn every_question(server: &TestServer, peer: &Peer, room: &str, event: &str) -> Vec<(&'static str, Answer)> {
    let latest = json!({ "earliest_events": [], "latest_events": [event] });
    vec![
        ("event", ask(server, peer, "v1/event", &[event], "").await),
        ("state", ask(server, peer, "v1/state", &[room], &format!("?event_id={event}")).await),
        ("state_ids", ask(server, peer, "v1/state_ids", &[room], &format!("?event_id={event}")).await),
        ("event_auth", ask(server, peer, "v1/event_auth", &[room, event], "").await),
        ("backfill", ask(server, peer, "v1/backfill", &[room], &format!("?v={event}&limit=10")).await),
        ("get_missing_events", missing(server, peer, room, latest).await),
        ("timestamp_to_event", ask(server, peer, "v1/timestamp_to_event", &[room], "?ts=0&dir=f").await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_servers_in_the_room_may_ask() {
    for server in TestServer::on_each().await {
        let (peer, stranger) = (Peer::start().await, Peer::start().await);
        let alice = server.register("alice").await;
        let room = shared(&server, &peer, &alice).await;
        let event = say(&server, &alice, &room, "hello").await;
        for (what, answer) in every_question(&server, &peer, &room, &event).await {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        }
        for (what, answer) in every_question(&server, &stranger, &room, &event).await {
            assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"), "{what}");
        }
        for (what, answer) in every_question(&server, &peer, "!unknown:test.example", FIRST).await {
            let expected = if what == "event" { (404, "M_NOT_FOUND") } else { (403, "M_FORBIDDEN") };
            assert_eq!(answer.refusal(), expected, "{what}");
        }
        set(&server, &alice, &room, "m.room.server_acl", json!({ "allow": ["*"], "allow_ip_literals": false })).await;
        for (what, answer) in every_question(&server, &peer, &room, &event).await {
            assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"), "{what}, denied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_rooms_are_not_found() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = shared(&server, &peer, &alice).await;
        let elsewhere = public_room(&server, &alice, "11").await;
        let secret = say(&server, &alice, &elsewhere, "secret").await;
        for event in [secret.as_str(), FIRST] {
            for (what, answer) in every_question(&server, &peer, &room, event).await {
                match what {
                    "event" if event == secret => assert_eq!(answer.refusal(), (403, "M_FORBIDDEN")),
                    "backfill" => assert_eq!(answer.ok()["pdus"], json!([])),
                    "get_missing_events" => assert_eq!(answer.ok()["events"], json!([])),
                    "timestamp_to_event" => {}
                    _ => assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"), "{what}"),
                }
            }
        }
        let no_event = ask(&server, &peer, "v1/state", &[&room], "").await;
        assert_eq!(no_event.refusal(), (400, "M_MISSING_PARAM"));
        let no_event = ask(&server, &peer, "v1/backfill", &[&room], "?limit=1").await;
        assert_eq!(no_event.refusal(), (400, "M_MISSING_PARAM"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_a_server_may_not_see_are_redacted() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice, "11").await;
        say(&server, &alice, &room, "shared").await;
        set(&server, &alice, &room, "m.room.history_visibility", json!({ "history_visibility": "joined" })).await;
        let hidden = say(&server, &alice, &room, "hidden").await;
        join(&server, &peer, &room, &peer.user("bob")).await;
        let seen = say(&server, &alice, &room, "seen").await;
        let taken_back = say(&server, &alice, &room, "taken back").await;
        let redact = room_path(&room, &format!("redact/{taken_back}/{}", unique_name()));
        server.put(&redact, &alice.token, json!({})).await.ok();
        let last = say(&server, &alice, &room, "last").await;

        let answer = ask(&server, &peer, "v1/backfill", &[&room], &format!("?v={last}&limit=100")).await;
        let returned = pdus(&answer, "pdus", RoomVersion::V11);
        assert_eq!(bodies(&returned), ["last", "", "seen", "", "shared"]);
        assert!(returned.iter().any(|pdu| pdu.event_id().as_str() == hidden), "it keeps its id");
        let answer = missing(&server, &peer, &room, json!({ "earliest_events": [], "latest_events": [seen] })).await;
        assert_eq!(bodies(&pdus(&answer, "events", RoomVersion::V11)), ["shared", ""]);
        for (event, text) in [(&hidden, ""), (&taken_back, ""), (&seen, "seen")] {
            let answer = ask(&server, &peer, "v1/event", &[event], "").await;
            assert_eq!(bodies(&pdus(&answer, "pdus", RoomVersion::V11)), [text]);
        }
        // Bob has left, Carol stays: what Bob saw stays visible to their server.
        join(&server, &peer, &room, &peer.user("carol")).await;
        let made = make(&server, &peer, "leave", &room, &peer.user("bob")).await;
        let leave = signed(&peer, &made, |_| {});
        submit(&server, &peer, "v2/send_leave", &room, &leave, "").await.ok();
        let answer = ask(&server, &peer, "v1/event", &[&seen], "").await;
        assert_eq!(bodies(&pdus(&answer, "pdus", RoomVersion::V11)), ["seen"]);
    }
}
