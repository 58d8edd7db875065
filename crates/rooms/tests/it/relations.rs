use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::relations::{RelationFilter, ThreadFilter, bundle, related, threads};
use plexus_rooms::{ClientFormat, NewEvent, Preset, SendError, timeline};

use crate::fixture::{Fixture, START_MS, message, run, user};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

#[test]
fn relations_are_aggregated() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        fixture.join(&room, BOB).await;
        let root = fixture.send(&room, ALICE, "root").await.unwrap().event_id;
        let relate = |sender: &str, event_type: &str, rel: &str| {
            let json = format!(
                r#"{{"body":"*","msgtype":"m.text","m.new_content":{{"body":"edited"}},"m.relates_to":{{"event_id":"{root}",{rel}}}}}"#
            );
            let content = Object::parse(&json).unwrap();
            let event = NewEvent { event_type: event_type.into(), content, ..message(&room.id, sender, "") };
            fixture.sender.send(event)
        };
        relate(ALICE, "m.room.message", r#""rel_type":"m.replace""#).await.unwrap();
        relate(BOB, "m.room.message", r#""rel_type":"m.replace""#).await.unwrap();
        relate(BOB, "m.reaction", r#""rel_type":"m.annotation","key":"+""#).await.unwrap();
        assert!(matches!(
            relate(BOB, "m.reaction", r#""rel_type":"m.annotation","key":"+""#).await,
            Err(SendError::DuplicateAnnotation)
        ));
        relate(BOB, "m.room.message", r#""rel_type":"m.thread""#).await.unwrap();
        let reply = relate(ALICE, "m.room.message", r#""rel_type":"m.thread""#).await.unwrap().event_id;
        relate(BOB, "m.room.message", r#""rel_type":"m.reference""#).await.unwrap();

        let event = timeline::event(&room, &root).await.unwrap().unwrap();
        let reader = user(BOB);
        let format = ClientFormat { user: &reader, device_id: None, now_ms: START_MS, room_id: true };
        let bundled = bundle(&room, &format, std::slice::from_ref(&event)).await.unwrap();
        let bundled = Object::parse(&bundled[&event.nid]).unwrap();
        let edit = bundled.get_object("m.replace").unwrap();
        assert_eq!(edit.get_str("sender"), Some(ALICE));
        let thread = bundled.get_object("m.thread").unwrap();
        assert_eq!(thread.get_i64("count"), Some(2));
        assert_eq!(thread.get_bool("current_user_participated"), Some(true));
        assert_eq!(thread.get_object("latest_event").unwrap().get_str("event_id"), Some(reply.as_str()));
        assert_eq!(bundled.get_object("m.reference").unwrap().get_array("chunk").unwrap().len(), 1);

        let filter = RelationFilter { rel_type: Some("m.thread".into()), ..RelationFilter::default() };
        let page = related(&room, &root, filter, 0, i64::MAX, 1, timeline::Direction::Backward).await.unwrap();
        assert!(page.more && *page.events[0].pdu.event_id() == reply);
        let all = related(&room, &root, RelationFilter::default(), 0, i64::MAX, 50, timeline::Direction::Forward);
        assert_eq!(all.await.unwrap().events.len(), 6);
        let filter = ThreadFilter { participated: true, upto: i64::MAX, before: i64::MAX, limit: 10 };
        let found = threads(&room, &reader, filter).await.unwrap().roots;
        assert_eq!(found.len(), 1);
        assert_eq!(*found[0].pdu.event_id(), root);
        assert!(threads(&room, &user("@carol:localhost"), filter).await.unwrap().roots.is_empty());
    });
}

#[test]
fn relations_of_relations_are_followed_three_times() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        let mut chain = vec![fixture.send(&room, ALICE, "root").await.unwrap().event_id];
        for number in 1..=4 {
            let relates_to = Object::from([("rel_type", "m.reference"), ("event_id", chain[number - 1].as_str())]);
            let mut event = message(&room.id, ALICE, "*");
            event.content.insert("m.relates_to", relates_to);
            chain.push(fixture.sender.send(event).await.unwrap().event_id);
        }
        let found = async |recurse: bool, direction: timeline::Direction| {
            let filter = RelationFilter { recurse, ..RelationFilter::default() };
            let page = related(&room, &chain[0], filter, 0, i64::MAX, 50, direction).await.unwrap();
            let ids: Vec<_> = page.events.iter().map(|event| event.pdu.event_id().clone()).collect();
            (ids, page.depth)
        };
        assert_eq!(found(false, timeline::Direction::Forward).await, (chain[1..2].to_vec(), 1));
        assert_eq!(found(true, timeline::Direction::Forward).await, (chain[1..4].to_vec(), 3));
        let newest_first = chain[1..4].iter().rev().cloned().collect();
        assert_eq!(found(true, timeline::Direction::Backward).await, (newest_first, 3));
    });
}
