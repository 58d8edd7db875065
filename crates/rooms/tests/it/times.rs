//! Which events are noted to be out of the order of time, and that every event is found by its time all the same.

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{NewEvent, Preset, Room};
use plexus_store::Database;

use crate::fixture::{Fixture, message, run};
use crate::found_by_time::{assert_found_by_time, timeline_of};

const ALICE: &str = "@alice:localhost";
const YEAR_MS: i64 = 365 * 86_400_000;

/// Sends a message whose time is so far from now; whether it is late.
async fn send(fixture: &Fixture, room: &Arc<Room>, from_now_ms: i64) -> bool {
    let ts = fixture.clock.now_ms().saturating_add_signed(from_now_ms);
    let event = NewEvent { origin_server_ts: Some(ts), ..message(&room.id, ALICE, "hello") };
    fixture.sender.send(event).await.unwrap();
    timeline_of(room, &fixture.db).await.last().unwrap().2
}

#[test]
fn events_that_come_late() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
        assert!(timeline_of(&room, &db).await.iter().filter(|(.., late)| *late).count() <= 1);
        fixture.clock.advance(Duration::from_secs(60));
        // What is too far ahead of our clock makes nothing late that follows it.
        for (from_now_ms, late) in
            [(0, false), (0, false), (-1, true), (240_000, false), (0, true), (YEAR_MS, true), (240_000, false)]
        {
            assert_eq!(send(&fixture, &room, from_now_ms).await, late, "{from_now_ms}");
        }
        assert_found_by_time(&room, &db, 1).await;

        fixture.clock.advance(Duration::from_secs(600));
        assert!(!send(&fixture, &room, 0).await);
        let again = reloaded(&fixture, &db, &room).await;
        let (fixture, room) = &again;
        assert!(send(fixture, room, -1).await);
        assert!(!send(fixture, room, 0).await);
        // None of the events that are loaded with the room is in order.
        for back in 1..30 {
            assert!(send(fixture, room, -back).await);
        }
        let (fixture, room) = &reloaded(fixture, &db, room).await;
        assert!(send(fixture, room, -1).await);
        assert!(!send(fixture, room, 0).await);
        assert_found_by_time(room, &db, 1).await;
    });
}

#[test]
fn nothing_is_in_order_that_may_not_be() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
        for _ in 0..20 {
            assert!(!send(&fixture, &room, 1_000).await);
        }
        db.write(|tx| tx.execute("UPDATE events SET late = 1", &[])).await.unwrap();
        let (fixture, room) = &reloaded(&fixture, &db, &room).await;
        assert!(send(fixture, room, 1_000).await);
        assert_found_by_time(room, &db, 1).await;
    });
}

/// The room as it is after a restart.
async fn reloaded(before: &Fixture, db: &Database, room: &Room) -> (Fixture, Arc<Room>) {
    let fixture = Fixture::new(db.clone());
    let passed = before.clock.now_ms() - fixture.clock.now_ms();
    fixture.clock.advance(Duration::from_millis(passed));
    let room = fixture.rooms.get(&room.id).await.unwrap().unwrap();
    (fixture, room)
}
