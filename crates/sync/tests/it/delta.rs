//! What changed, as values.

use std::time::Duration;

use plexus_protocol::id::RoomId;
use plexus_store::RoomNid;
use plexus_sync::delta::{RoomDelta, RoomSink};
use serde_json::json;

use crate::support::*;

#[test]
fn a_delta_is_a_value_that_one_can_print() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        server.join(&room, BOB).await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        assert!(bob.delta().await.is_empty());

        server.send(&room, ALICE, "hello").await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "t"})).await;
        server.typing.start(room.nid, &user(ALICE), Duration::from_secs(10));
        server.account_data(BOB, "m.test", json!({"a": 1})).await;
        let delta = bob.delta().await;
        assert_eq!(
            format!("{:?}", delta.account_data),
            r#"[AccountData { event_type: "m.test", content: "{\"a\":1}" }]"#
        );
        assert!(delta.rooms.invited.is_empty() && delta.rooms.knocked.is_empty() && delta.rooms.left.is_empty());
        let joined = &delta.rooms.joined[room.id.as_str()];
        let timeline = format!("{:?}", joined.timeline.events);
        assert_eq!(timeline, r#"[m.room.message of @alice:localhost, m.room.topic "" of @alice:localhost]"#);
        assert!(joined.state.is_empty() && joined.summary.is_none() && !joined.timeline.limited);
        assert_eq!(joined.ephemeral.typing, Some(vec![user(ALICE)]));
        assert_eq!(joined.counts.total().notifications, 1);
        assert!(format!("{delta:#?}").contains("m.room.message of @alice:localhost"));
    });
}

#[test]
fn a_room_that_the_user_comes_into_is_whole() {
    run(async |db| {
        let server = Server::new(db);
        let (room, other) = (server.room(ALICE).await, server.room(ALICE).await);
        let mut bob = server.client(BOB).filter(json!({"room": {"timeline": {"limit": 1}}}));
        bob.sync().await;
        server.join(&room, BOB).await;
        server.invite(&other, ALICE, BOB).await;
        let delta = bob.delta().await;
        let joined = &delta.rooms.joined[room.id.as_str()];
        let state = format!("{:?}", joined.state);
        assert!(state.contains(r#"m.room.name "" of @alice:localhost"#), "{state}");
        let last = joined.timeline.events.last().expect("an event");
        assert!(last.pdu.is_state("m.room.member", BOB) && joined.timeline.limited);
        let invited = format!("{:?}", delta.rooms.invited[other.id.as_str()]);
        assert!(invited.contains(r#"m.room.member "@bob:localhost" of @alice:localhost"#), "{invited}");
        assert_eq!(delta.device_lists.changed, [user(ALICE), user(BOB)].into());
    });
}

#[test]
fn a_room_that_the_user_has_left_ends_with_the_leave() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.leave(&room, BOB).await;
        server.send(&room, ALICE, "not for Bob").await;
        let delta = bob.delta().await;
        assert!(delta.rooms.joined.is_empty());
        let left = format!("{:?}", delta.rooms.left[room.id.as_str()].timeline.events);
        assert_eq!(left, r#"[m.room.member "@bob:localhost" of @bob:localhost]"#);
        assert_eq!(delta.device_lists.left, [user(ALICE), user(CAROL)].into());
    });
}

/// Lets Alice type in all rooms when the first is added, and records in which rooms she was read to type.
struct TypingSink<'s> {
    server: &'s Server,
    rooms: Vec<RoomNid>,
    typing: Vec<bool>,
}

impl RoomSink for TypingSink<'_> {
    fn add(&mut self, _: &RoomId, room: RoomDelta) {
        let RoomDelta::Joined(room) = room else { panic!("{room:?} is not joined") };
        self.typing.push(room.ephemeral.typing.is_some());
        for room in self.rooms.drain(..) {
            self.server.typing.start(room, &user(ALICE), Duration::from_secs(10));
        }
    }

    fn is_empty(&self) -> bool {
        self.typing.is_empty()
    }
}

#[test]
fn a_room_is_handed_over_before_the_next_is_read() {
    run(async |db| {
        let server = Server::new(db);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(server.shared_room().await.nid);
        }
        let sink = TypingSink { server: &server, rooms, typing: Vec::new() };
        assert_eq!(server.client(BOB).delta_to(sink).await.rooms.typing, [false, true, true]);
    });
}
