//! Rooms of every version, made on each side and joined from the other.

use plexus_testkit::{TestPlace, places};
use serde_json::json;

use super::{Member, converse, pair};

async fn one_version(version: u32, ann: &Member, ben: &Member) {
    let name = format!("version {version}");
    let options = json!({ "preset": "public_chat", "room_version": version.to_string(), "name": name });
    let room = ann.create_room(options).await;
    ann.say(&room, "nobody hears me").await;
    ben.join(&room, ann).await;
    ann.sees_member(&room, ben, "join").await;
    converse(&room, ann, ben).await;
    let create = ben.get(&format!("v3/rooms/{room}/state/m.room.create?format=event")).await;
    assert_eq!(create.ok()["content"]["room_version"].as_str().unwrap_or("1"), version.to_string());
}

async fn every_version(place: TestPlace) {
    let Some((_plexus, [paul, sara])) = pair(place).await else { return };
    for version in 1..=12 {
        one_version(version, &sara, &paul).await;
        one_version(version, &paul, &sara).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_both_ways() {
    for place in places() {
        every_version(place).await;
    }
}
