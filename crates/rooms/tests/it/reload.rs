use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use plexus_protocol::event::client::client_json;
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{InitialState, Preset, Room, RoomView, timeline};

use crate::fixture::{Fixture, new_room, run};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

fn state_of(view: &RoomView) -> BTreeMap<(String, String), (i64, Option<&'static str>)> {
    view.state
        .iter()
        .map(|entry| {
            let key = (entry.event_type.to_string(), entry.state_key.to_string());
            (key, (entry.nid, entry.membership.map(|kind| kind.as_str())))
        })
        .collect()
}

async fn everything(room: &Room) -> Vec<(i64, String, String, Option<String>)> {
    let events = timeline::range(room, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
    events
        .iter()
        .map(|event| {
            let replaced = event.replaced.as_ref().map(|replaced| replaced.content_json.to_string());
            (event.position, event.pdu.json().to_owned(), client_json(&event.pdu), replaced)
        })
        .collect()
}

#[test]
fn rooms_of_all_versions_are_the_same_after_a_restart() {
    run(|db| async move {
        let before = Fixture::new(db.clone());
        let mut rooms = Vec::new();
        for version in RoomVersion::ALL {
            let mut new = new_room(ALICE, version, Preset::PrivateChat);
            new.topic = Some("Things".into());
            new.initial_state = vec![InitialState {
                event_type: "m.room.encryption".into(),
                state_key: String::new(),
                content: Object::from([("algorithm", "m.megolm.v1.aes-sha2")]),
            }];
            let room = before.creator.create(new).await.unwrap();
            assert_eq!(room.version, version);
            assert_eq!(room.id.server_name().is_none(), version == RoomVersion::V12);
            before.invite(&room, ALICE, BOB).await;
            before.join(&room, BOB).await;
            for number in 0..15 {
                before.clock.advance(Duration::from_millis(5));
                before.send(&room, if number % 2 == 0 { ALICE } else { BOB }, "hello").await.unwrap();
            }
            before.set(&room, ALICE, "m.room.name", r#"{"name":"Renamed"}"#).await.unwrap();
            before.leave(&room, BOB).await;
            rooms.push(room);
        }
        let after = Fixture::new(db);
        for room in rooms {
            let again = after.rooms.get(&room.id).await.unwrap().unwrap();
            let (old, new) = (room.view(), again.view());
            assert_eq!(again.version, room.version);
            assert_eq!(state_of(&old), state_of(&new));
            assert_eq!(old.position, new.position);
            assert!(old.extremities().eq(new.extremities()));
            assert_eq!(old.power_levels, new.power_levels);
            assert_eq!((old.joined_count, old.invited_count), (1, 0));
            assert_eq!((new.joined_count, new.invited_count), (1, 0));
            assert_eq!(new.join_rule, old.join_rule);
            assert_eq!(new.content_str("m.room.name", "name"), Some("Renamed"));
            assert!(new.recent_after > 0 && old.recent_after == 0);
            assert_eq!(everything(&room).await, everything(&again).await);
            // And it goes on.
            after.send(&again, ALICE, "still here").await.unwrap();
            after.invite(&again, ALICE, BOB).await;
            after.join(&again, BOB).await;
            assert_eq!(again.view().joined_count, 2);
            let rooms = after.rooms.memberships().of(&crate::fixture::user(BOB)).await.unwrap();
            assert_eq!(rooms.get(again.nid).map(|it| it.kind.as_str()), Some("join"));
        }
    });
}

#[test]
fn rooms_are_evicted_and_come_back() {
    run(|db| async move {
        let fixture = Fixture::with_cache(db, 100_000);
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await.id.clone());
        }
        let (count, bytes) = fixture.rooms.in_memory();
        assert!(count < 20 && bytes <= 110_000, "{count} rooms, {bytes} bytes");
        for id in ids {
            let room = fixture.rooms.get(&id).await.unwrap().unwrap();
            fixture.send(&room, ALICE, "hello").await.unwrap();
            assert_eq!(everything(&room).await.len(), 8);
        }
    });
}

#[test]
fn rooms_that_nobody_uses_are_dropped_and_come_back() {
    run(|db| async move {
        const UNUSED: Duration = Duration::from_secs(1_800);
        let fixture = Fixture::new(db);
        let mut ids = Vec::new();
        for _ in 0..2 {
            ids.push(fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await.id.clone());
        }
        let mut expiry = std::pin::pin!(Arc::clone(&fixture.rooms).run_expiry(UNUSED));
        let mut go_on = || expiry.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(go_on().is_pending());
        let held = fixture.rooms.get(&ids[1]).await.unwrap().unwrap();
        for (left, what) in [(1, "one is in use"), (1, "one is held")] {
            fixture.clock.advance(UNUSED);
            assert!(go_on().is_pending());
            assert_eq!(fixture.rooms.in_memory().0, left, "{what}");
        }
        drop(held);
        fixture.clock.advance(UNUSED);
        assert!(go_on().is_pending());
        assert_eq!(fixture.rooms.in_memory(), (0, 0));
        let room = fixture.rooms.get(&ids[0]).await.unwrap().unwrap();
        fixture.send(&room, ALICE, "hello").await.unwrap();
    });
}

#[test]
fn state_at_any_position_is_what_it_was() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        let mut states = Vec::new();
        for number in 0..40 {
            let name = format!(r#"{{"name":"{number}","topic":"{number}"}}"#);
            let sent = match number % 4 {
                0 => fixture.set(&room, ALICE, "m.room.name", &name).await.unwrap(),
                1 => fixture.join(&room, &format!("@user{number}:localhost")).await,
                2 => fixture.send(&room, ALICE, "hello").await.unwrap(),
                _ => fixture.set(&room, ALICE, "m.room.topic", &name).await.unwrap(),
            };
            let state: BTreeMap<_, _> = state_of(&room.view()).into_iter().map(|(key, (nid, _))| (key, nid)).collect();
            states.push((sent.position.unwrap(), state));
        }
        for (position, expected) in states {
            let state = timeline::state_at(&room, position).await.unwrap();
            let state: BTreeMap<_, _> = state
                .iter()
                .map(|event| {
                    let key = event.pdu.state_key().unwrap().to_owned();
                    ((event.pdu.event_type().to_owned(), key), event.nid)
                })
                .collect();
            assert_eq!(state, expected, "at {position}");
        }
        snapshots_agree(&fixture, &room).await;
    });
}

/// Every event's snapshot is the state before it, by whichever way it is read.
async fn snapshots_agree(fixture: &Fixture, room: &Room) {
    use plexus_store::repo::{current_state, state_snapshots};
    let events = timeline::range(room, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
    for event in events {
        let (nid, position, room) = (event.nid, event.position, room.nid);
        let (snapshot, mut log) = fixture
            .db
            .read(move |tx| {
                let snapshot = state_snapshots::before_event(tx, nid)?.unwrap();
                let snapshot = state_snapshots::read(tx, snapshot)?;
                Ok::<_, plexus_store::DbError>((snapshot, current_state::at(tx, room, position - 1)?))
            })
            .await
            .unwrap();
        let mut snapshot: Vec<i64> = snapshot.into_values().collect();
        snapshot.sort_unstable();
        log.sort_unstable();
        assert_eq!(snapshot, log, "before {position}");
    }
}
