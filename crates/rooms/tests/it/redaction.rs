use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use plexus_protocol::id::EventId;
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::relations::bundle;
use plexus_rooms::write::censor::censor_redacted;
use plexus_rooms::{ClientFormat, MembershipChange, NewEvent, Preset, Room, SendError, Sent, timeline};

use crate::fixture::{Fixture, START_MS, change, message, run, user};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

fn redaction(room: &Room, sender: &str, target: &EventId) -> NewEvent {
    NewEvent {
        event_type: "m.room.redaction".into(),
        redacts: Some(target.clone()),
        content: Object::new(),
        ..message(&room.id, sender, "")
    }
}

async fn redact(fixture: &Fixture, room: &Room, sender: &str, target: &EventId) -> Result<Sent, SendError> {
    fixture.sender.send(redaction(room, sender, target)).await
}

#[test]
fn users_redact_their_own_events_or_those_of_others() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        let sent = fixture.send(&room, ALICE, "hello").await.unwrap().event_id;
        let unknown = EventId::try_from("$unknown").unwrap();
        for (sender, target, own, another) in
            [(ALICE, &sent, true, false), (BOB, &sent, false, true), (ALICE, &unknown, false, false)]
        {
            let event = redaction(&room, sender, target);
            assert_eq!(fixture.sender.redacts_own(&event).await.unwrap(), own, "{sender} {target}");
            assert_eq!(fixture.sender.redacts_another(&event).await.unwrap(), another, "{sender} {target}");
        }
        let no_redaction = message(&room.id, ALICE, "hello");
        assert!(!fixture.sender.redacts_own(&no_redaction).await.unwrap());
        assert!(!fixture.sender.redacts_another(&no_redaction).await.unwrap());
    });
}

#[test]
fn a_redacted_event_is_redacted_in_memory_and_after_a_restart() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        for version in [RoomVersion::V1, RoomVersion::V6, RoomVersion::V11, RoomVersion::V12] {
            let room = fixture.room(ALICE, version, Preset::PublicChat).await;
            fixture.join(&room, BOB).await;
            let secret = fixture.send(&room, BOB, "secret").await.unwrap().event_id;
            let own = fixture.send(&room, ALICE, "mine").await.unwrap().event_id;
            assert!(redact(&fixture, &room, BOB, &own).await.is_err());
            redact(&fixture, &room, ALICE, &secret).await.unwrap();
            let name = fixture.set(&room, ALICE, "m.room.name", r#"{"name":"gone"}"#).await.unwrap().event_id;
            redact(&fixture, &room, ALICE, &name).await.unwrap();
            assert_eq!(room.view().content_str("m.room.name", "name"), None);
            let after = Fixture::new(db.clone());
            let again = after.rooms.get(&room.id).await.unwrap().unwrap();
            assert_eq!(again.view().content_str("m.room.name", "name"), None);
            for room in [&room, &again] {
                for id in [&secret, &name] {
                    let event = timeline::event(room, id).await.unwrap().unwrap();
                    assert_eq!(event.pdu.content_json(), "{}");
                    let because = event.redacted_because.as_ref().unwrap();
                    assert_eq!(because.pdu.redacts(), Some(id));
                }
            }
        }
    });
}

#[test]
fn the_redaction_in_a_redacted_event_names_its_room() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        let target = fixture.send(&room, ALICE, "secret").await.unwrap().event_id;
        let redaction = redact(&fixture, &room, ALICE, &target).await.unwrap().event_id;
        let event = timeline::event(&room, &target).await.unwrap().unwrap();
        let reader = user(ALICE);
        for room_id in [false, true] {
            let format = ClientFormat { user: &reader, device_id: None, now_ms: START_MS, room_id };
            let mut json = String::new();
            event.write_client(&mut json, &format, None, None);
            let shown = Object::parse(&json).unwrap();
            assert_eq!(shown.get_str("room_id"), room_id.then_some(room.id.as_str()));
            let because = shown.get_object("unsigned").unwrap().get_object("redacted_because").unwrap();
            assert_eq!(because.get_str("event_id"), Some(redaction.as_str()));
            assert_eq!(because.get_str("room_id"), Some(room.id.as_str()));
        }
    });
}

#[test]
fn what_cannot_be_redacted() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        fixture.join(&room, BOB).await;
        let create = room.view().event_in_memory("m.room.create", "").unwrap().event_id().clone();
        assert!(matches!(redact(&fixture, &room, ALICE, &create).await, Err(SendError::RedactionOfProtected)));
        let unknown = EventId::try_from("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg").unwrap();
        assert!(matches!(redact(&fixture, &room, BOB, &unknown).await, Err(SendError::UnknownRedactionTarget)));
        let nothing =
            NewEvent { event_type: "m.room.redaction".into(), content: Object::new(), ..message(&room.id, ALICE, "") };
        assert!(matches!(fixture.sender.send(nothing).await, Err(SendError::RedactsNothing)));
    });
}

#[test]
fn redacted_content_is_gone_for_good_after_a_while() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let day = Duration::from_secs(86_400);
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        let secret = fixture.send(&room, ALICE, "secret").await.unwrap().event_id;
        redact(&fixture, &room, ALICE, &secret).await.unwrap();
        let nid = timeline::event(&room, &secret).await.unwrap().unwrap().nid;
        for (days, kept) in [(6, true), (2, false), (2, false)] {
            fixture.clock.advance(day * days);
            censor_redacted(&fixture.db, &fixture.clock, 7 * day).await.unwrap();
            let stored = db.read(move |tx| plexus_store::repo::events::by_nids(tx, &[nid])).await.unwrap();
            assert_eq!(stored[0].json.as_ref().unwrap().contains("secret"), kept);
        }
        let again = Fixture::new(db).rooms.get(&room.id).await.unwrap().unwrap();
        let event = timeline::event(&again, &secret).await.unwrap().unwrap();
        assert!(event.redacted_because.is_some() && event.pdu.event_id() == &secret);
    });
}

/// Drops the rooms from memory that nobody holds.
fn expire_rooms(fixture: &Fixture) {
    const UNUSED: Duration = Duration::from_secs(1_800);
    let mut expiry = std::pin::pin!(Arc::clone(&fixture.rooms).run_expiry(UNUSED));
    for _ in 0..2 {
        assert!(expiry.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        fixture.clock.advance(UNUSED);
    }
    assert!(expiry.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(fixture.rooms.in_memory().0, 0);
}

/// What Bob's member event shows of the one it replaced, once neither is among the newest events.
async fn replaced_of_bob(fixture: &Fixture, room: &Room) -> String {
    let view = room.view();
    let event = room.state_event(view.state.get("m.room.member", BOB).unwrap()).await.unwrap();
    assert!(event.position <= view.recent_after, "it is read from the database");
    assert_eq!(fixture.rooms.in_memory().0, 1);
    event.replaced.as_ref().unwrap().content_json.to_string()
}

#[test]
fn what_was_redacted_does_not_come_back_with_a_room_that_left_memory() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let (id, joined) = {
            let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
            let join = MembershipChange { reason: Some("secret".into()), ..change(&room.id, BOB, BOB) };
            let joined = fixture.members.join(join, false).await.unwrap().event_id;
            fixture.leave(&room, BOB).await;
            for _ in 0..25 {
                fixture.send(&room, ALICE, "hello").await.unwrap();
            }
            (room.id.clone(), joined)
        };
        expire_rooms(&fixture);
        {
            let room = fixture.rooms.get(&id).await.unwrap().unwrap();
            assert!(replaced_of_bob(&fixture, &room).await.contains("secret"));
            redact(&fixture, &room, ALICE, &joined).await.unwrap();
        }
        expire_rooms(&fixture);
        let room = fixture.rooms.get(&id).await.unwrap().unwrap();
        assert!(!replaced_of_bob(&fixture, &room).await.contains("secret"));
    });
}

/// Stores something instead of an event that is no event; it is to be censored at the next opportunity.
async fn make_unreadable(fixture: &Fixture, room: &Room, event: &EventId) -> i64 {
    let nid = timeline::event(room, event).await.unwrap().unwrap().nid;
    let write = fixture.db.write(move |tx| {
        plexus_store::repo::redactions::censor(tx, nid, r#"{"body":"secret"}"#)?;
        plexus_store::repo::redactions::add(tx, &[nid], 0)
    });
    write.await.unwrap();
    nid
}

#[test]
fn a_redacted_event_that_cannot_be_read_is_censored() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        let secret = fixture.send(&room, ALICE, "secret").await.unwrap().event_id;
        let nid = make_unreadable(&fixture, &room, &secret).await;
        censor_redacted(&fixture.db, &fixture.clock, Duration::from_secs(1)).await.unwrap();
        let stored = db.read(move |tx| plexus_store::repo::events::by_nids(tx, &[nid])).await.unwrap();
        assert_eq!(stored[0].json.as_ref().unwrap(), "{}");
    });
}

#[test]
fn a_redacted_event_is_bundled_with_nothing_when_its_redaction_cannot_be_read() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        let root = fixture.send(&room, ALICE, "root").await.unwrap().event_id;
        let json = format!(
            r#"{{"body":"*","msgtype":"m.text","m.relates_to":{{"event_id":"{root}","rel_type":"m.reference"}}}}"#
        );
        let related = NewEvent { content: Object::parse(&json).unwrap(), ..message(&room.id, ALICE, "") };
        fixture.sender.send(related).await.unwrap();
        let redaction = redact(&fixture, &room, ALICE, &root).await.unwrap().event_id;
        make_unreadable(&fixture, &room, &redaction).await;
        let again = Fixture::new(db).rooms.get(&room.id).await.unwrap().unwrap();
        let event = timeline::event(&again, &root).await.unwrap().unwrap();
        assert!(event.is_redacted && event.redacted_because.is_none());
        let reader = user(ALICE);
        let format = ClientFormat { user: &reader, device_id: None, now_ms: START_MS, room_id: true };
        assert!(bundle(&again, &format, &[event]).await.unwrap().is_empty());
    });
}

#[test]
fn a_page_of_history_goes_past_what_cannot_be_read() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        let mut sent = Vec::new();
        for number in 0..40 {
            sent.push(fixture.send(&room, ALICE, &number.to_string()).await.unwrap());
        }
        make_unreadable(&fixture, &room, &sent[5].event_id).await;
        let again = Fixture::new(db).rooms.get(&room.id).await.unwrap().unwrap();
        let (oldest, newest) = (sent[3].position.unwrap(), sent[7].position.unwrap());
        assert!(newest < again.view().recent_after);
        for (direction, expected) in
            [(timeline::Direction::Backward, ["7", "6", "4"]), (timeline::Direction::Forward, ["4", "6", "7"])]
        {
            let page = timeline::range(&again, oldest, newest, 3, direction).await.unwrap();
            let bodies: Vec<_> = page.iter().filter_map(|event| event.pdu.content().get_str("body")).collect();
            assert_eq!(bodies, expected);
        }
    });
}

#[test]
fn a_history_visibility_that_cannot_be_read_shows_nothing_to_those_who_joined_later() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        let visibility = async |visibility: &str| {
            let content = format!(r#"{{"history_visibility":"{visibility}"}}"#);
            fixture.set(&room, ALICE, "m.room.history_visibility", &content).await.unwrap().event_id
        };
        let joined = visibility("joined").await;
        let secret = fixture.send(&room, ALICE, "secret").await.unwrap().event_id;
        for _ in 0..15 {
            fixture.send(&room, ALICE, "hello").await.unwrap();
        }
        visibility("shared").await;
        fixture.join(&room, BOB).await;
        make_unreadable(&fixture, &room, &joined).await;
        let again = Fixture::new(db).rooms.get(&room.id).await.unwrap().unwrap();
        let secret = timeline::event(&again, &secret).await.unwrap().unwrap();
        assert!(secret.position > again.view().recent_after);
        assert!(timeline::visible(&user(BOB), &again, vec![secret]).await.unwrap().is_empty());
    });
}

#[test]
fn a_state_event_that_redacts_what_it_replaces_does_not_show_it() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        let target = fixture.send(&room, ALICE, "other").await.unwrap().event_id;
        let redact = |target: EventId, reason: &str| {
            let content = Object::from([("reason", reason)]);
            let (event_type, state_key) = ("m.room.redaction".into(), Some(String::new()));
            let event =
                NewEvent { event_type, state_key, content, redacts: Some(target), ..message(&room.id, ALICE, "") };
            fixture.sender.send(event)
        };
        let first = redact(target, "secret").await.unwrap().event_id;
        let second = redact(first, "none").await.unwrap().event_id;
        let event = timeline::event(&room, &second).await.unwrap().unwrap();
        assert!(!event.replaced.as_ref().unwrap().content_json.contains("secret"));
    });
}
