//! Making, changing, entering and leaving rooms.

use http::Method;
use serde_json::json;

use super::{C, Stage};

pub(super) async fn use_all(stage: &Stage) {
    members(stage).await;
    send(stage).await;
    addresses(stage).await;
    others(stage).await;
}

/// Creates a room of Alice's.
pub(super) async fn create(stage: &Stage, body: serde_json::Value) -> String {
    let made = stage.post(&format!("{C}/createRoom"), body).await;
    made["room_id"].as_str().expect("a room id").to_owned()
}

async fn members(stage: &Stage) {
    let server = &stage.server;
    let (bob, body) = (&stage.bob, json!({ "user_id": stage.bob.id, "reason": "because" }));
    let knocking = json!({
        "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" },
    });
    let room =
        create(stage, json!({ "initial_state": [knocking], "name": "Behind a door", "preset": "private_chat" })).await;
    let at = |rest: &str| format!("{C}/rooms/{room}/{rest}");
    server.post(&format!("{C}/knock/{room}"), &bob.token, json!({ "reason": "please" })).await.ok();
    server.get(&format!("{C}/sync"), &bob.token).await.ok();
    server.post(&at("leave"), &bob.token, json!({})).await.ok();
    stage.post(&at("invite"), body.clone()).await;
    server.get(&format!("{C}/sync"), &bob.token).await.ok();
    server.post(&format!("{C}/join/{room}"), &bob.token, json!({})).await.ok();
    stage.post(&at("kick"), body.clone()).await;
    stage.post(&at("ban"), body.clone()).await;
    server.get(&format!("{C}/sync"), &bob.token).await.ok();
    stage.get(&at("members")).await;
    stage.get(&at("members?not_membership=join")).await;
    stage.post(&at("unban"), body).await;
    server.post(&at("forget"), &bob.token, json!({})).await.ok();
    server.post(&at("join"), &bob.token, json!({})).await;
    stage.post(&at("upgrade"), json!({ "new_version": "11" })).await;
    stage.sync("").await;
}

async fn send(stage: &Stage) {
    let server = &stage.server;
    let event = stage.say(json!({ "msgtype": "m.text", "body": "hello" })).await;
    stage.put(&stage.in_room("state/org.example.thing/key"), json!({ "a": 1 })).await;
    stage.put(&stage.in_room("state/m.room.topic/"), json!({ "topic": "Something else" })).await;
    stage.get(&stage.in_room("state/org.example.thing/key")).await;
    stage.get(&stage.in_room("state/m.room.topic/?format=event")).await;
    let wrong = stage.say(json!({ "msgtype": "m.text", "body": "wrong" })).await;
    stage.put(&stage.in_room(&format!("redact/{wrong}/t1")), json!({ "reason": "wrong" })).await;
    stage.put(&stage.in_room(&format!("typing/{}", stage.alice.id)), json!({ "typing": true, "timeout": 30000 })).await;
    for path in ["protocols", "protocol/irc", "user", "user/irc?nick=bob", "location?alias=%23a:b", "location/irc"] {
        stage.get(&format!("{C}/thirdparty/{path}")).await;
    }
    let listed = format!("{C}/directory/list/appservice/libera/{}", stage.room);
    server.put(&listed, "from-irc", json!({ "visibility": "public" })).await.ok();
    let ping = "/_matrix/client/v1/appservice/irc/ping";
    server.post(ping, "from-irc", json!({ "transaction_id": "t" })).await.ok();
    let receipt = stage.in_room(&format!("receipt/m.read/{event}"));
    server.post(&receipt, &stage.bob.token, json!({ "thread_id": "main" })).await.ok();
    stage.post(&stage.in_room("read_markers"), json!({ "m.fully_read": event, "m.read": event })).await;
    server.post(&stage.in_room("report"), &stage.bob.token, json!({ "reason": "spam" })).await.ok();
    let report = stage.in_room(&format!("report/{event}"));
    server.post(&report, &stage.bob.token, json!({ "reason": "spam", "score": -10 })).await.ok();
}

async fn addresses(stage: &Stage) {
    let server = &stage.server;
    for name in ["one", "two"] {
        stage.put(&format!("{C}/directory/room/%23{name}:test.example"), json!({ "room_id": stage.room })).await;
    }
    let canonical = json!({ "alias": "#one:test.example" });
    stage.put(&stage.in_room("state/m.room.canonical_alias/"), canonical).await;
    server.request(Method::GET, &format!("{C}/directory/room/%23one:test.example"), None, None).await.ok();
    stage.delete(&format!("{C}/directory/room/%23two:test.example")).await;
    stage.get(&stage.in_room("aliases")).await;
    let listed = format!("{C}/directory/list/room/{}", stage.room);
    stage.put(&listed, json!({ "visibility": "public" })).await;
    server.request(Method::GET, &listed, None, None).await.ok();
    stage.get(&format!("{C}/publicRooms?limit=1")).await;
    stage.post(&format!("{C}/publicRooms"), json!({ "filter": { "generic_search_term": "room" } })).await;
    stage.get(&format!("/_matrix/client/v1/room_summary/{}", stage.room)).await;
    stage.get("/_matrix/client/v1/room_summary/%23one:test.example").await;
}

async fn others(stage: &Stage) {
    let space = create(stage, json!({ "creation_content": { "type": "m.space" }, "name": "Space" })).await;
    let child = format!("{C}/rooms/{space}/state/m.space.child/{}", stage.room);
    stage.put(&child, json!({ "via": ["test.example"], "order": "a", "suggested": true })).await;
    stage.get(&format!("/_matrix/client/v1/rooms/{space}/hierarchy?limit=1")).await;
    stage.get(&format!("/_matrix/client/v1/rooms/{space}/hierarchy")).await;
    stage.get(&format!("{C}/joined_rooms")).await;
    let encrypted = json!({
        "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" },
    });
    let invited =
        json!({ "preset": "private_chat", "is_direct": true, "invite": [stage.bob.id], "initial_state": [encrypted] });
    let direct = create(stage, invited).await;
    stage.server.post(&format!("{C}/join/{direct}"), &stage.bob.token, json!({})).await.ok();
    // The public list again, with a room without anything but its creation.
    let bare = create(stage, json!({ "visibility": "public" })).await;
    stage.get(&format!("{C}/publicRooms")).await;
    stage.get(&format!("/_matrix/client/v1/room_summary/{bare}")).await;
}
