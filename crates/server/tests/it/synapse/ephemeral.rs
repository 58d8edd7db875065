//! Data that is not durable: typing, receipts, presence, messages to devices; and the keys those need.

use plexus_testkit::unique_name;
use serde_json::{Value, json};

use super::{Member, both_ways, shared_room};

/// Whether the room's ephemeral events have one of that type that `wanted` accepts.
fn ephemeral(sync: &Value, room: &str, kind: &str, wanted: impl Fn(&Value) -> bool) -> Option<()> {
    let events = sync["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    events.iter().any(|event| event["type"] == kind && wanted(&event["content"])).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn typing() {
    both_ways(async |ann, ben| {
        let room = shared_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        // Synapse does not show a room whose state it is still fetching, nor later who typed there meanwhile.
        ben.finds("join", &room).await;
        for (typist, watcher) in [(ann, ben), (ben, ann)] {
            let path = format!("v3/rooms/{room}/typing/{}", typist.id());
            typist.put(&path, json!({ "typing": true, "timeout": 60_000 })).await.ok();
            let types = |content: &Value| content["user_ids"] == json!([typist.id()]);
            watcher.sync_until("typing", |sync| ephemeral(sync, &room, "m.typing", types)).await;
            let now = watcher.now().await;
            typist.put(&path, json!({ "typing": false })).await.ok();
            let ends = |content: &Value| content["user_ids"] == json!([]);
            watcher.sync_from(now, "its end", |sync| ephemeral(sync, &room, "m.typing", ends)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts() {
    both_ways(async |ann, ben| {
        let room = shared_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        for (speaker, reader) in [(ann, ben), (ben, ann)] {
            let said = speaker.say(&room, "read this").await;
            reader.hears(&room, &said).await;
            reader.post(&format!("v3/rooms/{room}/receipt/m.read/{said}"), json!({})).await.ok();
            let read = |content: &Value| content[&said]["m.read"].get(reader.id()).is_some();
            speaker.sync_until("a receipt", |sync| ephemeral(sync, &room, "m.receipt", read)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence() {
    both_ways(async |ann, ben| {
        let room = shared_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        let status = json!({ "presence": "online", "status_msg": "gardening" });
        ann.put(&format!("v3/presence/{}/status", ann.id()), status).await.ok();
        let online = |sync: &Value| {
            let events = sync["presence"]["events"].as_array()?;
            let wanted = |event: &Value| event["sender"] == ann.id() && event["content"]["status_msg"] == "gardening";
            events.iter().any(wanted).then_some(())
        };
        ben.sync_until("presence", online).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_devices() {
    both_ways(async |ann, ben| {
        let content = json!({ "n": 1 });
        let messages = json!({ "messages": { ben.id(): { &ben.user.device_id: content } } });
        ann.put(&format!("v3/sendToDevice/org.example.note/{}", unique_name()), messages).await.ok();
        let look = |sync: &Value| sync["to_device"]["events"].as_array()?.first().cloned();
        let message = ben.sync_until("a message to a device", look).await;
        let expected = json!({ "type": "org.example.note", "sender": ann.id(), "content": content });
        assert_eq!(message, expected);
    })
    .await;
}

/// Uploads device keys and a one-time key that look like real ones, and returns the device keys.
async fn upload_keys(owner: &Member, curve25519: &str) -> Value {
    let (user, device) = (owner.id(), &owner.user.device_id);
    let signature = json!({ user: { format!("ed25519:{device}"): "c2lnbmF0dXJl" } });
    let keys = json!({
        "user_id": user,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { format!("curve25519:{device}"): curve25519, format!("ed25519:{device}"): "ZWRrZXk" },
        "signatures": signature,
    });
    let one_time = json!({ "signed_curve25519:AAAA": { "key": "b25ldGltZQ", "signatures": signature } });
    owner.post("v3/keys/upload", json!({ "device_keys": keys, "one_time_keys": one_time })).await.ok();
    keys
}

/// A public encrypted room of the first user, which the second joined.
async fn encrypted_room(ann: &Member, ben: &Member) -> String {
    let encryption = json!({ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } });
    let room = ann.create_room(json!({ "preset": "public_chat", "initial_state": [encryption] })).await;
    ben.join(&room, ann).await;
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn device_lists_and_keys() {
    both_ways(async |ann, ben| {
        // Others learn of devices only where they could encrypt for them.
        let room = encrypted_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        let now = ben.now().await;
        let keys = upload_keys(ann, "Y3VydmU").await;
        let changed =
            |sync: &Value| sync["device_lists"]["changed"].as_array()?.contains(&json!(ann.id())).then_some(());
        ben.sync_from(now, "a change of devices", changed).await;
        let device = &ann.user.device_id;
        let found = ben.post("v3/keys/query", json!({ "device_keys": { ann.id(): [] } })).await;
        let mut found = found.ok()["device_keys"][ann.id()][device].clone();
        found.as_object_mut().map(|keys| keys.remove("unsigned"));
        assert_eq!(found, keys);
        let claim = json!({ "one_time_keys": { ann.id(): { device: "signed_curve25519" } } });
        let claimed = ben.post("v3/keys/claim", claim.clone()).await;
        let key = &claimed.ok()["one_time_keys"][ann.id()][device]["signed_curve25519:AAAA"];
        assert_eq!(key["key"], "b25ldGltZQ");
        // It is used up.
        let claimed = ben.post("v3/keys/claim", claim).await;
        assert!(claimed.ok()["one_time_keys"][ann.id()][device].get("signed_curve25519:AAAA").is_none());
    })
    .await;
}
