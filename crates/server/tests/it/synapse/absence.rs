//! One server is away while users of the other talk; both write while nothing passes between them.

use std::collections::BTreeSet;

use plexus_testkit::{Synapse, TestPlace, TestServer};
use serde_json::{Value, json};

use super::history::paged_back;
use super::{Member, converse, shared_room, text};

/// A user of Plexus and one of a Synapse that nobody else uses.
async fn alone() -> Option<(TestServer, Synapse, [Member; 2])> {
    let synapse = Synapse::start().await?;
    let plexus = TestServer::on(TestPlace::sqlite()).federating().start().await;
    let paul = Member::register(&plexus, plexus.name(), "paul").await;
    let sara = Member::register(&synapse, &synapse.name(), "sara").await;
    Some((plexus, synapse, [paul, sara]))
}

/// Says `count` things, numbered on from what was said before, and answers the last one's id.
async fn chatter(speaker: &Member, room: &str, count: usize, said: &mut Vec<String>) -> String {
    let mut last = String::new();
    for _ in 0..count {
        said.push(said.len().to_string());
        last = speaker.say(room, &said[said.len() - 1]).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn synapse_is_away() {
    let Some((_plexus, mut synapse, [paul, mut sara])) = alone().await else { return };
    let room = shared_room(&sara, &paul).await;
    let mut said = Vec::new();
    for count in [5, 150] {
        synapse.kill();
        let last = chatter(&paul, &room, count, &mut said).await;
        synapse.boot().await;
        sara.client = synapse.clone();
        sara.hears(&room, &last).await;
        assert_eq!(paged_back(&sara, &room).await, said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plexus_is_away() {
    let Some((mut plexus, _synapse, [mut paul, sara])) = alone().await else { return };
    let room = shared_room(&sara, &paul).await;
    let mut said = Vec::new();
    for count in [5, 150] {
        plexus.stop().await;
        let last = chatter(&sara, &room, count, &mut said).await;
        plexus.restart().await;
        paul.client = plexus.clone();
        paul.hears(&room, &last).await;
        assert_eq!(paged_back(&paul, &room).await, said);
    }
}

/// The ids of all events of a room that the user is shown.
async fn events(member: &Member, room: &str) -> BTreeSet<String> {
    let page = member.get(&format!("v3/rooms/{room}/messages?dir=b&limit=500")).await;
    let chunk = page.ok()["chunk"].as_array().expect("a page is a list");
    chunk.iter().map(|event| text(&event["event_id"])).collect()
}

/// Has each side say things, set topic and power levels, and ban the other's guest, who goes on. Answers what the guests
/// did after that: each server shows only what its own guest did.
async fn write_apart(room: &str, paul: &Member, sara: &Member, [pia, sol]: [&Member; 2]) -> [String; 2] {
    for (writer, name) in [(paul, "Paul"), (sara, "Sara")] {
        for number in 0..5 {
            writer.say(room, &format!("{name} {number}")).await;
        }
        writer.set_state(room, "m.room.topic/", json!({ "topic": name })).await;
    }
    let levels = paul.get(&format!("v3/rooms/{room}/state/m.room.power_levels/")).await;
    let with = |user: &Member, level: i64| {
        let mut levels: Value = levels.ok().clone();
        levels["users"][user.id()] = json!(level);
        levels
    };
    sara.set_state(room, "m.room.power_levels/", with(sol, 50)).await;
    paul.set_state(room, "m.room.power_levels/", with(pia, 25)).await;
    sara.act("ban", room, pia).await;
    let renamed = json!({ "membership": "join", "displayname": "P" });
    let renamed = pia.set_state(room, &format!("m.room.member/{}", pia.id()), renamed).await;
    paul.act("ban", room, sol).await;
    let said = sol.say(room, "I am still here").await;
    sara.say(room, "the last of Sara").await;
    paul.say(room, "the last of Paul").await;
    [renamed, said]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_write_during_a_cut() {
    let Some((plexus, synapse, [paul, sara])) = alone().await else { return };
    let pia = Member::register(&plexus, plexus.name(), "pia").await;
    let sol = Member::register(&synapse, &synapse.name(), "sol").await;
    for version in ["6", "10", "11", "12"] {
        let mut users = json!({ paul.id(): 90 });
        if version != "12" {
            users[sara.id()] = json!(100);
        }
        let levels = json!({ "users": users, "events": { "m.room.power_levels": 50 } });
        let options =
            json!({ "preset": "public_chat", "room_version": version, "power_level_content_override": levels });
        let room = sara.create_room(options).await;
        for member in [&paul, &pia, &sol] {
            member.join(&room, &sara).await;
        }
        paul.sees_member(&room, &sol, "join").await;
        converse(&room, &sara, &paul).await;
        plexus.link().cut();
        synapse.link().cut();
        let [of_pia, of_sol] = write_apart(&room, &paul, &sara, [&pia, &sol]).await;
        plexus.link().heal();
        synapse.link().heal();
        // Somebody speaks again, on both sides, which tells each server of what it missed.
        let [healed_paul, healed_sara] = [paul.say(&room, "back").await, sara.say(&room, "back").await];
        sara.hears(&room, &healed_paul).await;
        paul.hears(&room, &healed_sara).await;
        converse(&room, &paul, &sara).await;
        let (mut here, mut there) = (events(&paul, &room).await, events(&sara, &room).await);
        assert!(here.remove(&of_pia) && there.remove(&of_sol), "version {version}");
        assert_eq!(here, there, "version {version}");
    }
}
