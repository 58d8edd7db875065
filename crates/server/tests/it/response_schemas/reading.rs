//! Sync, history, relations, notifications.

use serde_json::json;

use super::{C, Stage};

pub(super) async fn use_all(stage: &Stage) {
    sync(stage).await;
    related(stage).await;
    history(stage).await;
    stage.get(&format!("{C}/notifications")).await;
    stage.get(&format!("{C}/notifications?limit=1&only=highlight")).await;
}

async fn sync(stage: &Stage) {
    let server = &stage.server;
    let first = stage.sync("?full_state=true").await;
    let since = first["next_batch"].as_str().expect("a token").to_owned();
    let message = stage.in_room("send/m.room.message/from-bob");
    let content =
        json!({ "msgtype": "m.text", "body": "alice: hello", "m.mentions": { "user_ids": [stage.alice.id] } });
    server.put(&message, &stage.bob.token, content).await.ok();
    let typing = stage.in_room(&format!("typing/{}", stage.bob.id));
    server.put(&typing, &stage.bob.token, json!({ "typing": true, "timeout": 30000 })).await.ok();
    let event = json!({ "messages": { &stage.alice.id: { "*": { "body": "x" } } } });
    server.put(&format!("{C}/sendToDevice/org.example/t1"), &stage.bob.token, event).await.ok();
    stage.sync(&format!("?since={since}")).await;
    stage.sync("?use_state_after=true").await;
    let filter = r#"{"room":{"include_leave":true,"state":{"lazy_load_members":true},"timeline":{"limit":1}}}"#;
    stage.sync(&format!("?filter={}", encoded(filter))).await;
    let token = &stage.bob.token;
    server.get(&format!("{C}/sync?filter={}", encoded(r#"{"room":{"include_leave":true}}"#)), token).await.ok();
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn related(stage: &Stage) {
    let root = stage.say(json!({ "msgtype": "m.text", "body": "a thread" })).await;
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let reply = stage.say(json!({ "msgtype": "m.text", "body": "a reply", "m.relates_to": relation })).await;
    let replace = json!({ "rel_type": "m.replace", "event_id": reply });
    let edit = json!({
        "msgtype": "m.text", "body": "* edited", "m.new_content": { "msgtype": "m.text", "body": "edited" },
        "m.relates_to": replace,
    });
    stage.say(edit).await;
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": root, "key": "x" } });
    stage.put(&stage.in_room("send/m.reaction/r1"), reaction).await;
    let relations = format!("/_matrix/client/v1/rooms/{}/relations/{root}", stage.room);
    for rest in ["", "/m.thread", "/m.thread/m.room.message", "?limit=1", "/m.annotation/m.reaction", "?recurse=true"] {
        stage.get(&format!("{relations}{rest}")).await;
    }
    stage.get(&format!("/_matrix/client/v1/rooms/{}/threads", stage.room)).await;
    stage.get(&stage.in_room(&format!("event/{root}"))).await;
    stage.get(&format!("/_matrix/client/v3/events/{root}")).await;
    stage.get(&stage.in_room(&format!("event/{reply}"))).await;
    stage.get(&stage.in_room(&format!("context/{reply}"))).await;
}

async fn history(stage: &Stage) {
    for query in ["dir=b", "dir=f", "dir=b&limit=1", "dir=b&limit=1000"] {
        stage.get(&stage.in_room(&format!("messages?{query}"))).await;
    }
    stage.get(&stage.in_room("state")).await;
    stage.get(&stage.in_room("members")).await;
    stage.get(&stage.in_room("joined_members")).await;
    stage.get(&stage.in_room("initialSync")).await;
    stage.get("/_matrix/client/v3/initialSync?archived=true").await;
    stage.get("/_matrix/client/v3/events?from=s0&timeout=0").await;
    stage.get(&format!("/_matrix/client/v3/events?room_id={}&from=s0&timeout=0", stage.room)).await;
    let at = format!("/_matrix/client/v1/rooms/{}/timestamp_to_event?ts=0&dir=f", stage.room);
    stage.get(&at).await;
}
