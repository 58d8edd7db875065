//! Messages from before a user joined.

use plexus_testkit::TestPlace;
use serde_json::json;

use super::{Member, pair, text};

/// More than clients page back in one go, and more than servers send at once.
const EARLIER: usize = 1_000;

/// The bodies of a room's messages, oldest first, as a user who pages back from now finds them.
pub(super) async fn paged_back(member: &Member, room: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut from = String::new();
    loop {
        let page = member.get(&format!("v3/rooms/{room}/messages?dir=b&limit=100{from}")).await;
        let events = page.ok()["chunk"].as_array().expect("a page is a list");
        let messages = events.iter().filter(|event| event["type"] == "m.room.message");
        bodies.extend(messages.map(|event| text(&event["content"]["body"])));
        match page.body["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => break,
        }
    }
    bodies.reverse();
    bodies
}

async fn a_thousand(ann: &Member, ben: &Member) {
    let room = ann.create_room(json!({ "preset": "public_chat" })).await;
    let expected: Vec<_> = (0..EARLIER).map(|number| number.to_string()).collect();
    for body in &expected {
        ann.say(&room, body).await;
    }
    ben.join(&room, ann).await;
    assert_eq!(paged_back(ben, &room).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_earlier_messages_of_synapse() {
    let Some((_plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    a_thousand(&sara, &paul).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_earlier_messages_of_plexus() {
    let Some((_plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    a_thousand(&paul, &sara).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_nearest_to_a_time_before_this_server_came() {
    let Some((_plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    let room = sara.create_room(json!({ "preset": "public_chat" })).await;
    let said = sara.say(&room, "early").await;
    paul.join(&room, &sara).await;
    let event = sara.get(&format!("v3/rooms/{room}/event/{said}")).await.ok().clone();
    let at = event["origin_server_ts"].as_u64().expect("a time");
    for query in [format!("ts={at}&dir=f"), format!("ts={at}&dir=b"), "ts=1000&dir=f".to_owned()] {
        let path = format!("v1/rooms/{room}/timestamp_to_event?{query}");
        assert_eq!(paul.get(&path).await.ok(), sara.get(&path).await.ok(), "{query}");
    }
    let around = paul.get(&format!("v3/rooms/{room}/context/{said}")).await;
    assert_eq!(around.ok()["event"]["event_id"], said.as_str());
}
