//! What is done in rooms and asked about them.

use plexus_testkit::{TestPlace, unique_name};
use serde_json::{Value, json};

use super::{both_ways, converse, pair, shared_room, text};

#[tokio::test(flavor = "multi_thread")]
async fn redactions() {
    both_ways(async |ann, ben| {
        let room = shared_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        for (speaker, listener) in [(ann, ben), (ben, ann)] {
            let said = speaker.say(&room, "oh no").await;
            listener.hears(&room, &said).await;
            let redact = format!("v3/rooms/{room}/redact/{said}/{}", unique_name());
            let redaction = text(&speaker.put(&redact, json!({})).await.ok()["event_id"]);
            listener.hears(&room, &redaction).await;
            let event = listener.get(&format!("v3/rooms/{room}/event/{said}")).await;
            assert_eq!(event.ok()["content"], json!({}));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades() {
    both_ways(async |ann, ben| {
        let room = shared_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        let upgrade = ann.post(&format!("v3/rooms/{room}/upgrade"), json!({ "new_version": "12" })).await;
        let new = text(&upgrade.ok()["replacement_room"]);
        let tombstone = ben.sees("a tombstone", &room, |event| event["type"] == "m.room.tombstone").await;
        assert_eq!(tombstone["content"]["replacement_room"], new);
        ben.join(&new, ann).await;
        converse(&new, ann, ben).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases() {
    both_ways(async |ann, ben| {
        let name = format!("room-{}", unique_name());
        let room = ann.create_room(json!({ "preset": "public_chat", "room_alias_name": name })).await;
        let alias = format!("%23{name}:{}", ann.server);
        let found = ben.get(&format!("v3/directory/room/{alias}")).await;
        assert_eq!(found.ok()["room_id"], room);
        assert_eq!(ben.post(&format!("v3/join/{alias}"), json!({})).await.ok()["room_id"], room);
        converse(&room, ann, ben).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_rooms() {
    both_ways(async |ann, ben| {
        let name = format!("room {}", unique_name());
        let room = ann.create_room(json!({ "preset": "public_chat", "visibility": "public", "name": name })).await;
        let search = json!({ "filter": { "generic_search_term": name } });
        let found = ben.post(&format!("v3/publicRooms?server={}", ann.server), search).await;
        let chunk = found.ok()["chunk"].as_array().cloned().unwrap_or_default();
        assert_eq!(chunk.iter().map(|room| text(&room["room_id"])).collect::<Vec<_>>(), [room]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles() {
    both_ways(async |ann, ben| {
        let name = json!({ "displayname": "Dr. Ann" });
        ann.put(&format!("v3/profile/{}/displayname", ann.id()), name.clone()).await.ok();
        let found = ben.get(&format!("v3/profile/{}", ann.id())).await;
        assert_eq!(found.ok()["displayname"], "Dr. Ann");
        let nobody = ben.get(&format!("v3/profile/@nobody:{}", ann.server)).await;
        assert_eq!(nobody.refusal(), (404, "M_NOT_FOUND"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_of_plexus() {
    let Some((_plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    let child = paul.create_room(json!({ "preset": "public_chat", "name": "the child" })).await;
    let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let space = paul.create_room(space).await;
    paul.set_state(&space, &format!("m.space.child/{child}"), json!({ "via": [paul.server] })).await;
    sara.join(&space, &paul).await;
    let found = sara.get(&format!("v1/rooms/{space}/hierarchy")).await;
    let rooms = found.ok()["rooms"].as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = rooms.iter().map(|room| &room["room_id"]).collect();
    assert_eq!(names, [&space, &child]);
    assert_eq!(rooms[1]["name"], "the child");
}
