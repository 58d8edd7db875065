//! Keys of devices and users, and their backup.

use serde_json::{Value, json};

use super::{C, Stage};
use crate::client::keys::{cross_signing, device_keys};

pub(super) async fn use_all(stage: &Stage) {
    devices(stage).await;
    backup(stage).await;
}

async fn devices(stage: &Stage) {
    let alice = &stage.alice;
    let before = stage.sync("").await["next_batch"].as_str().expect("a token").to_owned();
    let keys = json!({
        "device_keys": device_keys(alice),
        "one_time_keys": { "signed_curve25519:AAAAAQ": { "key": "one", "signatures": {} } },
        "fallback_keys": { "signed_curve25519:AAAAAg": { "key": "two", "fallback": true, "signatures": {} } },
    });
    stage.post(&format!("{C}/keys/upload"), keys).await;
    stage
        .server
        .post(&format!("{C}/keys/upload"), &stage.bob.token, json!({ "device_keys": device_keys(&stage.bob) }))
        .await;
    let signing = json!({
        "master_key": cross_signing(alice, "master", 1, None),
        "self_signing_key": cross_signing(alice, "self_signing", 2, Some(1)),
        "user_signing_key": cross_signing(alice, "user_signing", 3, Some(1)),
    });
    stage.post(&format!("{C}/keys/device_signing/upload"), signing).await;
    let everybody = json!({ "device_keys": { &alice.id: [], &stage.bob.id: [], "@x:elsewhere.example": [] } });
    stage.post(&format!("{C}/keys/query"), everybody).await;
    let claim = json!({ "one_time_keys": { &alice.id: { &alice.device_id: "signed_curve25519" } } });
    stage.post(&format!("{C}/keys/claim"), claim).await;
    let signatures = json!({ &alice.id: { "NOPE": {} } });
    stage.post(&format!("{C}/keys/signatures/upload"), signatures).await;
    let after = stage.sync("").await["next_batch"].as_str().expect("a token").to_owned();
    stage.get(&format!("{C}/keys/changes?from={before}&to={after}")).await;
    stage.sync(&format!("?since={before}")).await;
}

async fn backup(stage: &Stage) {
    let auth: Value = json!({ "public_key": "abcdefg", "signatures": {} });
    let version = format!("{C}/room_keys/version");
    stage.server.get(&version, &stage.alice.token).await;
    let made =
        stage.post(&version, json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": auth })).await;
    let number = made["version"].as_str().expect("a version").to_owned();
    stage.get(&version).await;
    stage.get(&format!("{version}/{number}")).await;
    let changed = json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": auth, "version": number,
    });
    stage.put(&format!("{version}/{number}"), changed).await;
    let session = json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ephemeral": "base64", "ciphertext": "base64", "mac": "base64" },
    });
    let sessions = json!({ "sessions": { "session": session } });
    let everything = json!({ "rooms": { &stage.room: sessions } });
    let room = format!("/{}", stage.room);
    let one = format!("{room}/session");
    for (place, body) in [("", everything), (&room, sessions), (&one, session)] {
        let path = format!("{C}/room_keys/keys{place}?version={number}");
        stage.put(&path, body).await;
        stage.get(&path).await;
    }
    for place in [&one, &room, ""] {
        stage.delete(&format!("{C}/room_keys/keys{place}?version={number}")).await;
        stage.server.get(&format!("{C}/room_keys/keys{place}?version={number}"), &stage.alice.token).await;
    }
    stage.delete(&format!("{version}/{number}")).await;
}
