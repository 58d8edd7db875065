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

/// Says `count` things, numbered on from what was said before, and returns the last one's id.
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

/// How many messages are said while a server is away, more than it fetches when it comes back, and by how many users at
/// once.
const MISSED: usize = 2_400;
const SPEAKERS: usize = 6;

/// Six users of Synapse speak at once while Plexus is away; each message is the speaker's number and the message's.
async fn speak_at_once(speakers: &[Member], room: &str, round: usize) {
    let speaking = speakers.iter().enumerate().map(async |(number, speaker)| {
        for message in 0..MISSED / SPEAKERS {
            speaker.say(room, &format!("{round} {number} {message}")).await;
        }
    });
    futures_util::future::join_all(speaking).await;
}

/// As often as `PLEXUS_ABSENCES` says, once without.
#[tokio::test(flavor = "multi_thread")]
async fn plexus_is_away_for_long() {
    let absences = std::env::var("PLEXUS_ABSENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let Some((mut plexus, mut synapse, [mut paul, sara])) = alone().await else { return };
    let mut speakers = vec![sara];
    for number in 1..SPEAKERS {
        speakers.push(Member::register(&synapse, &synapse.name(), &format!("speaker{number}")).await);
    }
    for round in 0..absences {
        let room = shared_room(&speakers[0], &paul).await;
        for speaker in &speakers[1..] {
            speaker.join(&room, &speakers[0]).await;
            paul.sees_member(&room, speaker, "join").await;
        }
        let since = paul.now().await;
        plexus.stop().await;
        speak_at_once(&speakers, &room, round).await;
        // It has forgotten what it meant to send, and tells of the room's last event alone.
        synapse.kill();
        synapse.boot().await;
        speakers.iter_mut().for_each(|speaker| speaker.client = synapse.clone());
        plexus.restart().await;
        paul.client = plexus.clone();
        let sara = &speakers[0];
        let last = sara.say(&room, "last").await;
        let has_room = |sync: &Value| {
            let timeline = &sync["rooms"]["join"][&room]["timeline"];
            let shows = timeline["events"].as_array()?.iter().any(|event| event["event_id"] == last);
            (timeline["limited"] == true || shows).then(|| timeline["limited"].clone())
        };
        let limited = paul.sync_from(since, "the room", has_room).await;
        assert_eq!(limited, true, "round {round}");
        paul.hears(&room, &last).await;
        let found = paged_back(&paul, &room).await;
        assert_eq!(found.last().map(String::as_str), Some("last"), "round {round}");
        assert_eq!(found.len(), MISSED + 1, "round {round}");
        for number in 0..SPEAKERS {
            let of_one = format!("{round} {number} ");
            let said: Vec<&str> = found.iter().filter_map(|body| body.strip_prefix(&of_one)).collect();
            let expected: Vec<String> = (0..MISSED / SPEAKERS).map(|message| message.to_string()).collect();
            assert_eq!(said, expected, "round {round}");
        }
        converse(&room, &paul, sara).await;
    }
}

/// The ids of all events of a room that the user is shown.
async fn events(member: &Member, room: &str) -> BTreeSet<String> {
    let page = member.get(&format!("v3/rooms/{room}/messages?dir=b&limit=500")).await;
    let chunk = page.ok()["chunk"].as_array().expect("a page is a list");
    chunk.iter().map(|event| text(&event["event_id"])).collect()
}

/// Has each side say things, set topic and power levels, and ban the other's guest, who goes on. Returns what the
/// guests did after that: each server shows only what its own guest did.
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
