//! What the replay tests of both syncs share: something happens in rooms, and what their clients should hold then.

use std::collections::BTreeMap;

use plexus_base::Random;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, join, public_room, room_path, send};

/// Event id by type and state key.
pub(super) type HeldState = BTreeMap<(String, String), String>;

/// Users and the rooms that they are all in. The client is the second user's.
pub(super) struct Stage {
    pub users: Vec<TestUser>,
    pub rooms: Vec<String>,
}

impl Stage {
    pub(super) async fn new(server: &TestServer, seed: u64, rooms: usize) -> Self {
        let mut stage = Self { users: Vec::new(), rooms: Vec::new() };
        for name in ["alice", "bob", "carol"] {
            stage.users.push(server.register(&format!("{name}{seed}")).await);
        }
        for _ in 0..rooms {
            let room = public_room(server, &stage.users[0]).await;
            for user in &stage.users[1..] {
                join(server, user, &room).await;
            }
            stage.rooms.push(room);
        }
        stage
    }

    /// Something happens in one of the rooms.
    pub(super) async fn act(&self, server: &TestServer, random: &Random) {
        let Self { users, rooms } = self;
        let room = &rooms[random.below(rooms.len() as u64) as usize];
        let user = &users[random.below(users.len() as u64) as usize];
        let post = async |rest: &str, user: &TestUser, body: Value| {
            server.post(&room_path(room, rest), &user.token, body).await;
        };
        match random.below(10) {
            0..6 => {
                let event_type = if random.below(4) == 0 { "org.example.noise" } else { "m.room.message" };
                send(server, user, room, event_type, json!({ "msgtype": "m.text", "body": "x" })).await;
            }
            6 => {
                let name = json!({ "name": plexus_testkit::unique_name() });
                server.put(&room_path(room, "state/m.room.name"), &users[0].token, name).await;
            }
            7 => post("leave", &users[2], json!({})).await,
            8 => post("kick", &users[0], json!({ "user_id": &users[1].id })).await,
            _ => {
                post("join", &users[1], json!({})).await;
                post("join", &users[2], json!({})).await;
            }
        }
    }
}

pub(super) fn text(event: &Value, name: &str) -> String {
    event[name].as_str().expect("a text").to_owned()
}

/// The events of a room, oldest first.
pub(super) async fn history(server: &TestServer, user: &TestUser, room: &str) -> Vec<Value> {
    let page = server.get(&room_path(room, "messages?dir=b&limit=500"), &user.token).await;
    page.ok()["chunk"].as_array().expect("events").iter().rev().cloned().collect()
}

pub(super) fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| text(event, "event_id")).collect()
}

pub(super) async fn joined_rooms(server: &TestServer, user: &TestUser) -> Vec<String> {
    let joined = server.get(&format!("{CLIENT}/joined_rooms"), &user.token).await;
    let joined = joined.ok()["joined_rooms"].as_array().expect("rooms").clone();
    joined.iter().map(|room| room.as_str().expect("an id").to_owned()).collect()
}

/// Asserts that a client holds a room's state, except for the members that `is_left_out` names.
pub(super) async fn assert_state(
    server: &TestServer,
    user: &TestUser,
    room: &str,
    held: &HeldState,
    is_left_out: impl Fn(&str) -> bool,
) {
    let state = server.get(&room_path(room, "state"), &user.token).await;
    for event in state.ok().as_array().expect("events") {
        let key = (text(event, "type"), text(event, "state_key"));
        if key.0 != "m.room.member" || !is_left_out(&key.1) {
            assert_eq!(held.get(&key), Some(&text(event, "event_id")), "{key:?} in {room}");
        }
    }
}
