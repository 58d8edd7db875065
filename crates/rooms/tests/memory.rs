//! What a room is said to weigh against what it takes: a test binary of its own, because it counts every allocation of
//! its process.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "it/fixture.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod fixture;

use std::alloc::System;
use std::sync::Arc;

use cap::Cap;
use fixture::Fixture;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{Preset, Room};
use plexus_testkit::TestPlace;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// About how many events are sent for each kind of room.
const EVENTS: usize = 800;

/// How much of what is allocated the weights of rooms of one kind account for: of rooms in use, and of rooms just
/// loaded.
async fn accounted(members: usize, messages: usize, text: &str) -> [f64; 2] {
    let database = TestPlace::sqlite().open();
    let hot = Fixture::with_cache(database.db(), 1 << 30);
    // What the first room brings into memory with it stays out.
    make(&hot, members, messages, text).await;
    let before = Usage::of(&hot);
    let rooms = (EVENTS / (members + messages)).min(100);
    let mut nids = Vec::with_capacity(rooms);
    for _ in 0..rooms {
        nids.push(make(&hot, members, messages, text).await.nid);
    }
    let of_hot = Usage::of(&hot).accounted_since(before);
    let cold = Fixture::with_cache(database.db(), 1 << 30);
    let before = Usage::of(&cold);
    for nid in nids {
        cold.rooms.get_nid(nid).await.unwrap().unwrap();
    }
    [of_hot, Usage::of(&cold).accounted_since(before)]
}

#[derive(Clone, Copy)]
struct Usage {
    allocated: usize,
    weighed: usize,
}

impl Usage {
    fn of(fixture: &Fixture) -> Self {
        Self { allocated: ALLOCATOR.allocated(), weighed: fixture.rooms.in_memory().1 }
    }

    fn accounted_since(self, before: Self) -> f64 {
        (self.weighed - before.weighed) as f64 / (self.allocated - before.allocated) as f64
    }
}

async fn make(fixture: &Fixture, members: usize, messages: usize, text: &str) -> Arc<Room> {
    let room = fixture.room("@alice:localhost", RoomVersion::V12, Preset::PublicChat).await;
    for member in 1..members {
        fixture.join(&room, &format!("@user{member}:localhost")).await;
    }
    for _ in 0..messages {
        fixture.send(&room, "@alice:localhost", text).await.unwrap();
    }
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_weighs_what_it_takes() {
    let usual = "a message of usual length, as people write them";
    let long = "long ".repeat(1_000);
    for (members, messages, text) in [(1, 0, ""), (2, 20, usual), (1, 70, usual), (1, 70, &long), (100, 0, "")] {
        for (accounted, state) in accounted(members, messages, text).await.into_iter().zip(["in use", "loaded"]) {
            let what = format!("{members} members, {messages} messages of {} bytes, {state}", text.len());
            println!("{what}: {accounted:.2}");
            // An eighth more than is allocated is meant; see `weight`.
            assert!((0.9..1.4).contains(&accounted), "{what}: {accounted:.2}");
        }
    }
}
