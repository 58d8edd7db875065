use std::sync::Arc;

use plexus_protocol::id::RoomAlias;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{CreateError, NewEvent, NewRoom, Preset, SendError, timeline};

use crate::fixture::{Fixture, message, new_room, run, transaction};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

#[test]
fn concurrent_senders_make_one_chain() {
    run(|db| async move {
        let fixture = Arc::new(Fixture::new(db));
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await);
        }
        let mut tasks = Vec::new();
        for task in 0..8 {
            for room in &rooms {
                let (fixture, room) = (Arc::clone(&fixture), Arc::clone(room));
                tasks.push(tokio::spawn(async move {
                    for number in 0..10 {
                        fixture.send(&room, ALICE, &format!("{task} {number}")).await.unwrap();
                    }
                }));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        for room in &rooms {
            let events = timeline::range(room, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
            assert_eq!(events.len(), 7 + 80);
            for pair in events.windows(2) {
                assert_eq!(pair[1].pdu.prev_events(), [pair[0].pdu.event_id().clone()]);
                assert_eq!(pair[1].pdu.depth(), pair[0].pdu.depth() + 1);
                assert!(pair[1].position > pair[0].position);
            }
            let back = timeline::range(room, 0, i64::MAX, 1_000, timeline::Direction::Backward).await.unwrap();
            assert!(back.iter().rev().map(|it| it.nid).eq(events.iter().map(|it| it.nid)));
        }
    });
}

#[test]
fn a_repeated_request_makes_one_event() {
    run(|db| async move {
        let fixture = Arc::new(Fixture::new(db.clone()));
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        let event = |txn| NewEvent { transaction: transaction("DEVICE", txn), ..message(&room.id, ALICE, "once") };
        let mut tasks = Vec::new();
        for _ in 0..10 {
            let (fixture, event) = (Arc::clone(&fixture), event("1"));
            tasks.push(tokio::spawn(async move { fixture.sender.send(event).await.unwrap().event_id }));
        }
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
        // After a restart too, and what is being sent at the same time is not harmed.
        let after = Arc::new(Fixture::new(db));
        let again = after.rooms.get(&room.id).await.unwrap().unwrap();
        let other = {
            let (after, again) = (Arc::clone(&after), Arc::clone(&again));
            tokio::spawn(async move {
                for _ in 0..5 {
                    after.send(&again, ALICE, "other").await.unwrap();
                }
            })
        };
        assert_eq!(after.sender.send(event("1")).await.unwrap().event_id, ids[0]);
        other.await.unwrap();
        let events = timeline::range(&again, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
        assert_eq!(events.len(), 7 + 1 + 5);
        let sent = events.iter().find(|event| *event.pdu.event_id() == ids[0]).unwrap();
        assert_eq!(sent.transaction.as_deref(), transaction("DEVICE", "1").as_ref());
        // Another device's is another request.
        let other = NewEvent { transaction: transaction("OTHER", "1"), ..message(&room.id, ALICE, "once") };
        assert_ne!(after.sender.send(other).await.unwrap().event_id, ids[0]);
    });
}

#[test]
fn who_is_refused_takes_nobody_along() {
    run(|db| async move {
        let fixture = Arc::new(Fixture::new(db));
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        let alias: RoomAlias = "#meeting:localhost".parse().unwrap();
        let mut creations = Vec::new();
        let mut messages = Vec::new();
        for task in 0..8 {
            let (creator, alias) = (Arc::clone(&fixture), Some(alias.clone()));
            creations.push(tokio::spawn(async move {
                creator.creator.create(NewRoom { alias, ..new_room(BOB, RoomVersion::V11, Preset::PublicChat) }).await
            }));
            let (fixture, room) = (Arc::clone(&fixture), Arc::clone(&room));
            messages.push(tokio::spawn(async move {
                for number in 0..5 {
                    fixture.send(&room, ALICE, &format!("{task} {number}")).await.unwrap();
                }
            }));
        }
        let mut created = 0;
        for creation in creations {
            match creation.await.unwrap() {
                Ok(_) => created += 1,
                Err(error) => assert!(matches!(error, CreateError::AliasTaken), "{error}"),
            }
        }
        assert_eq!(created, 1);
        for task in messages {
            task.await.unwrap();
        }
        let events = timeline::range(&room, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
        assert_eq!(events.len(), 7 + 40);
        assert!(events.windows(2).all(|pair| pair[1].pdu.prev_events() == [pair[0].pdu.event_id().clone()]));
    });
}

#[test]
fn state_that_would_not_change_is_not_sent() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V10, Preset::PublicChat).await;
        let first = fixture.set(&room, ALICE, "m.room.topic", r#"{"topic":"a"}"#).await.unwrap();
        let second = fixture.set(&room, ALICE, "m.room.topic", r#"{"topic":"a"}"#).await.unwrap();
        assert_eq!((second.event_id, second.position), (first.event_id, None));
        assert!(fixture.set(&room, ALICE, "m.room.topic", r#"{"topic":"b"}"#).await.unwrap().position.is_some());
    });
}

#[test]
fn what_is_not_allowed_is_refused_and_harms_nobody() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        assert!(matches!(fixture.send(&room, BOB, "hello").await, Err(SendError::Forbidden(_))));
        fixture.join(&room, BOB).await;
        assert!(matches!(
            fixture.set(&room, BOB, "m.room.name", r#"{"name":"x"}"#).await,
            Err(SendError::Forbidden(_))
        ));
        let large = "x".repeat(70_000);
        assert!(matches!(fixture.send(&room, BOB, &large).await, Err(SendError::TooLarge(_))));
        assert!(matches!(
            fixture.set(&room, ALICE, "m.room.power_levels", r#"{"users":{"@alice:localhost":100}}"#).await,
            Err(SendError::Forbidden(_))
        ));
        assert!(matches!(
            fixture.set(&room, ALICE, "m.room.topic", r#"{"topic":"a","org.example":1.5}"#).await,
            Err(SendError::Malformed(_))
        ));
        fixture.set(&room, ALICE, "odd\0type", "{}").await.unwrap();
        fixture.send(&room, BOB, "still\0here").await.unwrap();
    });
}

#[test]
fn two_writers_may_build_the_same_event() {
    run(|db| async move {
        let (one, two) = (Fixture::new(db.clone()), Fixture::new(db));
        let room = one.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        // In memory before the other sends: the same message on the same room, at the same time, has the same id.
        two.rooms.get(&room.id).await.unwrap().unwrap();
        let first = one.send(&room, ALICE, "same").await.unwrap();
        let second = two.send(&room, ALICE, "same").await.unwrap();
        assert_ne!(first.event_id, second.event_id);
        let fresh = Fixture::new(one.db.clone());
        let room = fresh.rooms.get(&room.id).await.unwrap().unwrap();
        let events = timeline::range(&room, 0, i64::MAX, 2, timeline::Direction::Backward).await.unwrap();
        let ids: Vec<_> = events.iter().map(|event| event.pdu.event_id()).collect();
        assert_eq!(ids, [&second.event_id, &first.event_id]);
        assert_eq!(events[0].pdu.prev_events(), [first.event_id]);
    });
}

#[test]
fn two_writers_of_one_database_lose_nothing() {
    run(|db| async move {
        let (one, two) = (Arc::new(Fixture::new(db.clone())), Arc::new(Fixture::new(db)));
        let room = one.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        let same = two.rooms.get(&room.id).await.unwrap().unwrap();
        let mut tasks = Vec::new();
        for (who, fixture, room) in [("one", &one, &room), ("two", &two, &same)] {
            for task in 0..3 {
                let (fixture, room) = (Arc::clone(fixture), Arc::clone(room));
                tasks.push(tokio::spawn(async move {
                    let mut sent = Vec::new();
                    for number in 0..5 {
                        // Both may be too slow too often; nothing is stored then.
                        match fixture.send(&room, ALICE, &format!("{who} {task} {number}")).await {
                            Ok(event) => sent.push(event.event_id),
                            Err(SendError::Contended) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    sent
                }));
            }
        }
        let mut sent = Vec::new();
        for task in tasks {
            sent.extend(task.await.unwrap());
        }
        let fresh = Fixture::new(one.db.clone());
        let room = fresh.rooms.get(&room.id).await.unwrap().unwrap();
        let events = timeline::range(&room, 7, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
        let mut stored: Vec<_> = events.iter().filter(|it| it.pdu.event_type() == "m.room.message").collect();
        assert_eq!(stored.len(), sent.len());
        stored.retain(|event| !sent.contains(event.pdu.event_id()));
        assert!(stored.is_empty());
        for pair in events.windows(2) {
            assert_eq!(pair[1].pdu.prev_events(), [pair[0].pdu.event_id().clone()]);
        }
    });
}
