//! Profiles, presence, account data, tags, filters, push rules, pushers, the user directory.

use http::Method;
use serde_json::{Value, json};

use super::{C, Stage};

pub(super) async fn use_all(stage: &Stage) {
    profile(stage).await;
    account_data(stage).await;
    push(stage).await;
    let directory = json!({ "search_term": "bob", "limit": 5 });
    stage.post(&format!("{C}/user_directory/search"), directory).await;
    let found = json!({ "search_term": "hello", "event_context": { "include_profile": true }, "include_state": true,
        "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] } });
    stage.post(&format!("{C}/search"), json!({ "search_categories": { "room_events": found } })).await;
    stage.post(&format!("{C}/users/{}/report", stage.bob.id), json!({ "reason": "rude" })).await;
    stage.get(&format!("/_matrix/client/v1/mutual_rooms?user_id={}", stage.bob.id)).await;
}

async fn profile(stage: &Stage) {
    let (alice, bob) = (&stage.alice.id, &stage.bob.id);
    // One without anything in it.
    stage.get(&format!("{C}/profile/{bob}")).await;
    for (field, value) in [
        ("displayname", json!("Alice")),
        ("avatar_url", json!("mxc://test.example/abcdefgh")),
        ("m.tz", json!("Europe/London")),
        ("org.example.pet", json!({ "kind": "cat" })),
    ] {
        let path = format!("{C}/profile/{alice}/{field}");
        stage.put(&path, json!({ field: value })).await;
        stage.server.request(Method::GET, &path, None, None).await.ok();
        stage.get(&format!("{C}/profile/{alice}")).await;
    }
    stage.delete(&format!("{C}/profile/{alice}/org.example.pet")).await;
    stage.server.request(Method::GET, &format!("{C}/profile/@nobody:test.example"), None, None).await;

    let status = |user: &str| format!("{C}/presence/{user}/status");
    stage.get(&status(bob)).await;
    stage.put(&status(alice), json!({ "presence": "unavailable", "status_msg": "Away" })).await;
    stage.get(&status(alice)).await;
}

async fn account_data(stage: &Stage) {
    let alice = format!("{C}/user/{}", stage.alice.id);
    let in_room = format!("{alice}/rooms/{}", stage.room);
    for place in [&alice, &in_room] {
        let path = format!("{place}/account_data/org.example.settings");
        stage.server.get(&path, &stage.alice.token).await;
        stage.put(&path, json!({ "dark": true })).await;
        stage.get(&path).await;
    }
    stage.get(&format!("{in_room}/tags")).await;
    stage.put(&format!("{in_room}/tags/u.work"), json!({ "order": 0.5 })).await;
    stage.put(&format!("{in_room}/tags/u.other"), json!({})).await;
    stage.get(&format!("{in_room}/tags")).await;
    stage.delete(&format!("{in_room}/tags/u.other")).await;
    let filter =
        json!({ "room": { "timeline": { "limit": 5, "types": ["m.room.message"] } }, "event_fields": ["type"] });
    let made = stage.post(&format!("{alice}/filter"), filter).await;
    stage.get(&format!("{alice}/filter/{}", made["filter_id"].as_str().expect("an id"))).await;
}

async fn push(stage: &Stage) {
    let rules = format!("{C}/pushrules/");
    stage.get(&rules).await;
    stage.get(&format!("{rules}global/")).await;
    let content = json!({ "pattern": "cheese", "actions": ["notify", { "set_tweak": "sound", "value": "default" }] });
    let override_ = json!({
        "actions": [], "conditions": [{ "kind": "event_match", "key": "type", "pattern": "org.example" }],
    });
    for (kind, rule, body) in [
        ("content", "cheese", content),
        ("override", "mute", override_),
        ("room", &stage.room, json!({ "actions": ["notify"] })),
        ("sender", &stage.bob.id, json!({ "actions": ["notify"] })),
    ] {
        let rule = format!("{rules}global/{kind}/{rule}");
        stage.put(&rule, body).await;
        stage.get(&rule).await;
        stage.get(&format!("{rule}/actions")).await;
        stage.put(&format!("{rule}/actions"), json!({ "actions": ["notify"] })).await;
        stage.get(&format!("{rule}/enabled")).await;
        stage.put(&format!("{rule}/enabled"), json!({ "enabled": false })).await;
    }
    stage.get(&rules).await;
    stage.delete(&format!("{rules}global/sender/{}", stage.bob.id)).await;

    let pushers = format!("{C}/pushers");
    stage.get(&pushers).await;
    let with_profile = |app: &str, profile: Option<&str>| {
        let mut pusher = json!({
            "app_display_name": "App", "app_id": app, "device_display_name": "Phone", "kind": "http", "lang": "en",
            "pushkey": "key",
            "data": { "url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only" },
        });
        if let Some(profile) = profile {
            pusher["profile_tag"] = Value::from(profile);
        }
        pusher
    };
    for (app, profile) in [("org.example.a", None), ("org.example.b", Some("tag"))] {
        stage.post(&format!("{C}/pushers/set"), with_profile(app, profile)).await;
    }
    stage.get(&pushers).await;
}
