//! What other servers are sent of a room.

use plexus_testkit::Peer;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::json;

use super::{Snapshot, servers, sorted};
use crate::client::{create, room_path};
use crate::federation::{join, make, path, signed, submit};

/// `answer` with the events of these members in a fixed order.
fn ordered(mut answer: Answer, members: &[&str]) -> Answer {
    for member in members {
        let events = sorted(&answer.body[*member]);
        answer.body[*member] = events;
    }
    answer
}

async fn room_of(server: &TestServer, alice: &TestUser) -> String {
    create(server, alice, json!({ "name": "Room", "preset": "public_chat", "room_version": "12" })).await
}

/// Sends a text message under a transaction id that is the text.
async fn say(server: &TestServer, user: &TestUser, room: &str, text: &str) -> String {
    let path = room_path(room, &format!("send/m.room.message/{text}"));
    let answer = server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": text })).await;
    answer.ok()["event_id"].as_str().expect("an event id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn joins() {
    for server in servers("").await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = room_of(&server, &alice).await;
        let mut snapshot = Snapshot::new("federation_join").naming(peer.name().as_str(), "peer.example");
        let made = make(&server, &peer, "join", &room, &peer.user("bob")).await;
        snapshot.add("make_join", &made);
        let bob = signed(&peer, &made, |_| {});
        let joined = submit(&server, &peer, "v2/send_join", &room, &bob, "").await;
        snapshot.add("send_join", &ordered(joined, &["state", "auth_chain"]));
        let mut old = submit(&server, &peer, "v1/send_join", &room, &bob, "").await;
        for member in ["state", "auth_chain"] {
            let events = sorted(&old.body[1][member]);
            old.body[1][member] = events;
        }
        snapshot.add("send_join, version 1", &old);
        let made = make(&server, &peer, "join", &room, &peer.user("carol")).await;
        let carol = signed(&peer, &made, |_| {});
        let partial = submit(&server, &peer, "v2/send_join", &room, &carol, "?omit_members=true").await;
        snapshot.add("send_join, members omitted", &ordered(partial, &["state", "auth_chain"]));
        snapshot.assert();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history() {
    for server in servers("").await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = room_of(&server, &alice).await;
        join(&server, &peer, &room, &peer.user("bob")).await;
        say(&server, &alice, &room, "first").await;
        let last = say(&server, &alice, &room, "second").await;
        let mut snapshot = Snapshot::new("federation_history").naming(peer.name().as_str(), "peer.example");
        let event = path("v1/event", &[&last]);
        snapshot.add("event", &peer.get(&server, &event).await);
        let backfill = format!("{}?v={last}&limit=3", path("v1/backfill", &[&room]));
        snapshot.add("backfill", &peer.get(&server, &backfill).await);
        let state = format!("{}?event_id={last}", path("v1/state", &[&room]));
        snapshot.add("state", &ordered(peer.get(&server, &state).await, &["pdus", "auth_chain"]));
        let auth = path("v1/event_auth", &[&room, &last]);
        snapshot.add("event_auth", &ordered(peer.get(&server, &auth).await, &["auth_chain"]));
        let stranger = Peer::start().await;
        snapshot.add("event, for a server that is not in the room", &stranger.get(&server, &event).await);
        snapshot.assert();
    }
}
