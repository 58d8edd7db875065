use plexus_protocol::event::Pdu;
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::timeline::{self, Access};
use plexus_rooms::{Preset, Room};

use crate::fixture::{Fixture, change, run, user};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

/// The bodies of the messages the user may see.
async fn seen(room: &Room, reader: &str) -> String {
    let reader = user(reader);
    let Some(access) = timeline::access(room, &reader).await.unwrap() else { return "nothing at all".into() };
    let upto = access.upto(room.view().position);
    let events = timeline::range(room, 0, upto, 1_000, timeline::Direction::Forward).await.unwrap();
    let visible = timeline::visible(&reader, room, events).await.unwrap();
    visible.iter().filter_map(|it| it.event.pdu.content().get_str("body")).collect::<Vec<_>>().join(" ")
}

/// One message in each stage of Bob's membership.
async fn history(fixture: &Fixture, visibility: &str) -> std::sync::Arc<Room> {
    let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
    let content = format!(r#"{{"history_visibility":"{visibility}"}}"#);
    fixture.set(&room, ALICE, "m.room.history_visibility", &content).await.unwrap();
    fixture.send(&room, ALICE, "before").await.unwrap();
    fixture.invite(&room, ALICE, BOB).await;
    fixture.send(&room, ALICE, "invited").await.unwrap();
    fixture.join(&room, BOB).await;
    fixture.send(&room, ALICE, "joined").await.unwrap();
    room
}

#[test]
fn who_sees_what() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        for (visibility, joined, left, stranger) in [
            ("world_readable", "before invited joined", "before invited joined", "before invited joined left"),
            ("shared", "before invited joined", "before invited joined", "nothing at all"),
            ("invited", "invited joined", "invited joined", "nothing at all"),
            ("joined", "joined", "joined", "nothing at all"),
        ] {
            let room = history(&fixture, visibility).await;
            assert_eq!(seen(&room, BOB).await, joined, "{visibility}");
            fixture.leave(&room, BOB).await;
            fixture.send(&room, ALICE, "left").await.unwrap();
            assert_eq!(seen(&room, BOB).await, left, "{visibility}");
            assert_eq!(seen(&room, "@stranger:localhost").await, stranger, "{visibility}");
            fixture.invite(&room, ALICE, BOB).await;
            fixture.join(&room, BOB).await;
            let again = seen(&room, BOB).await;
            let missed = matches!(visibility, "world_readable" | "shared");
            assert_eq!(again.ends_with("left"), missed, "{visibility}: {again}");
        }
    });
}

#[test]
fn an_invite_rejected_opens_nothing() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
        fixture.invite(&room, ALICE, BOB).await;
        assert_eq!(timeline::access(&room, &user(BOB)).await.unwrap(), None);
        fixture.leave(&room, BOB).await;
        assert_eq!(timeline::access(&room, &user(BOB)).await.unwrap(), None);
        assert_eq!(timeline::access(&room, &user(ALICE)).await.unwrap(), Some(Access::Joined));
    });
}

/// The room history visibility decides about a rejected invite as about any other member event of the reader.
#[test]
fn a_rejected_invite_is_in_the_history_if_the_visibility_allows_it() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        for (visibility, is_shown) in [("world_readable", true), ("shared", true), ("invited", true), ("joined", false)]
        {
            let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
            let content = format!(r#"{{"history_visibility":"{visibility}"}}"#);
            fixture.set(&room, ALICE, "m.room.history_visibility", &content).await.unwrap();
            fixture.invite(&room, ALICE, BOB).await;
            fixture.leave(&room, BOB).await;
            fixture.invite(&room, ALICE, BOB).await;
            fixture.join(&room, BOB).await;
            let events = timeline::range(&room, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
            let visible = timeline::visible(&user(BOB), &room, events).await.unwrap();
            let is_rejection =
                |pdu: &Pdu| pdu.is_state("m.room.member", BOB) && Membership::of(pdu) == Some(Membership::Leave);
            assert_eq!(visible.iter().any(|it| is_rejection(&it.event.pdu)), is_shown, "{visibility}");
        }
    });
}

/// Whoever is invited sees what happens from then on, not the state of the room.
#[test]
fn what_a_state_event_replaced_is_hidden_from_the_invited() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
        fixture.set(&room, ALICE, "m.room.history_visibility", r#"{"history_visibility":"invited"}"#).await.unwrap();
        fixture.invite(&room, ALICE, BOB).await;
        fixture.set(&room, ALICE, "m.room.topic", r#"{"topic":"one"}"#).await.unwrap();
        fixture.set(&room, ALICE, "m.room.topic", r#"{"topic":"two"}"#).await.unwrap();
        fixture.join(&room, BOB).await;
        fixture.set(&room, ALICE, "m.room.topic", r#"{"topic":"three"}"#).await.unwrap();
        for (reader, expected) in [(ALICE, [false, true, true]), (BOB, [false, false, true])] {
            let events = timeline::range(&room, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
            let visible = timeline::visible(&user(reader), &room, events).await.unwrap();
            let topics = visible.iter().filter(|it| it.event.pdu.event_type() == "m.room.topic");
            let shows_replaced: Vec<_> = topics.map(|it| it.event.replaced.is_some()).collect();
            assert_eq!(shows_replaced, expected, "{reader}");
        }
    });
}

#[test]
fn who_was_kicked_and_banned_reads_up_to_the_kick() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = history(&fixture, "shared").await;
        fixture.members.kick(change(&room.id, ALICE, BOB)).await.unwrap();
        fixture.send(&room, ALICE, "kicked").await.unwrap();
        fixture.members.ban(change(&room.id, ALICE, BOB)).await.unwrap();
        fixture.send(&room, ALICE, "banned").await.unwrap();
        assert_eq!(seen(&room, BOB).await, "before invited joined");
    });
}

/// What the user may see of the events from each of them on, with the user's membership at each.
async fn from_each_on(room: &Room, reader: &str) -> Vec<Vec<(i64, Membership)>> {
    let events = timeline::range(room, 0, i64::MAX, 1_000, timeline::Direction::Forward).await.unwrap();
    let mut seen = Vec::new();
    for first in 0..events.len() {
        let visible = timeline::visible(&user(reader), room, events[first..].to_vec()).await.unwrap();
        seen.push(visible.iter().map(|it| (it.event.position, it.membership)).collect());
    }
    seen
}

/// The newest events are judged by what is in memory, older ones by the database: a room that was loaded a moment ago,
/// which has few events in memory, and one that has all of them must agree.
#[test]
fn memory_and_database_agree() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        for seed in 0_u64..4 {
            let room = fixture.room(ALICE, RoomVersion::V11, Preset::PrivateChat).await;
            let mut number = seed;
            for step in 0..48 {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (by, own) = (change(&room.id, ALICE, BOB), change(&room.id, BOB, BOB));
                // What the room does not allow at the moment does not happen.
                match (number >> 33) % 9 {
                    0 | 1 => drop(fixture.members.invite(by).await),
                    2 | 3 => drop(fixture.members.join(own, false).await),
                    4 => drop(fixture.members.leave(own).await),
                    5 => drop(fixture.members.kick(by).await),
                    6 if step % 3 == 0 => drop(fixture.members.ban(by).await),
                    6 => drop(fixture.members.unban(by).await),
                    7 => {
                        let named = ["world_readable", "shared", "invited", "joined"][(number >> 40) as usize % 4];
                        let content = format!(r#"{{"history_visibility":"{named}"}}"#);
                        drop(fixture.set(&room, ALICE, "m.room.history_visibility", &content).await);
                    }
                    _ => drop(fixture.send(&room, ALICE, "hello").await),
                }
            }
            assert_eq!(room.view().recent_after, 0, "all of it is in memory");
            let reopened = Fixture::new(db.clone()).rooms.get(&room.id).await.unwrap().unwrap();
            assert!(reopened.view().recent_after > 0, "little of it is in memory");
            for reader in [ALICE, BOB, "@stranger:localhost"] {
                assert_eq!(from_each_on(&room, reader).await, from_each_on(&reopened, reader).await, "{seed} {reader}");
            }
        }
    });
}
