//! Profiles that clients follow by `GET /sync` (MSC4429).

use std::time::Duration;

use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{places, within};
use serde_json::{Value, json};

use crate::client::{CLIENT, get_unauthenticated, join, next_batch, public_room, room_path};

const STATUS: &str = "org.matrix.msc4426.status";

async fn servers() -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        servers.push(TestServer::on(place).config("include_profile_updates_in_sync: true").start().await);
    }
    servers
}

async fn set(server: &TestServer, user: &TestUser, field: &str, value: Value) {
    let path = format!("{CLIENT}/profile/{}/{field}", user.id);
    server.put(&path, &user.token, json!({ field: value })).await.ok();
}

async fn remove(server: &TestServer, user: &TestUser, field: &str) {
    server.delete(&format!("{CLIENT}/profile/{}/{field}", user.id), &user.token).await.ok();
}

/// A sync of a client that follows the status of others.
async fn sync_within(server: &TestServer, user: &TestUser, since: Option<&str>, timeout_ms: u64) -> Value {
    let filter = json!({ "org.matrix.msc4429.profile_fields": { "ids": [STATUS, "org.example.other"] } });
    let filter = server.post(&format!("{CLIENT}/user/{}/filter", user.id), &user.token, filter).await;
    let filter = filter.ok()["filter_id"].as_str().unwrap();
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    let path = format!("{CLIENT}/sync?timeout={timeout_ms}&filter={filter}{since}");
    server.get(&path, &user.token).await.ok().clone()
}

async fn sync(server: &TestServer, user: &TestUser, since: Option<&Value>) -> Value {
    sync_within(server, user, since.map(next_batch), 0).await
}

/// The profiles in a response.
fn profiles(answer: &Value) -> &Value {
    &answer["org.matrix.msc4429.users"]
}

fn updates(user: &TestUser, fields: Value) -> Value {
    json!({ &user.id: { "profile_updates": fields } })
}

#[tokio::test]
async fn clients_are_sent_the_fields_that_they_follow() {
    for mut server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        set(&server, &bob, STATUS, json!({ "text": "here" })).await;
        let first = sync(&server, &alice, None).await;
        assert_eq!(profiles(&first), &updates(&bob, json!({ STATUS: { "text": "here" } })));

        set(&server, &bob, STATUS, json!({ "text": "away" })).await;
        set(&server, &bob, STATUS, json!("gone")).await;
        set(&server, &bob, "org.example.unwanted", json!(1)).await;
        server.restart().await;
        let second = sync(&server, &alice, Some(&first)).await;
        assert_eq!(profiles(&second), &updates(&bob, json!({ STATUS: "gone" })));
        let third = sync(&server, &alice, Some(&second)).await;
        assert!(profiles(&third).is_null(), "{third}");
        // Whoever has not received the response is sent it again.
        assert_eq!(profiles(&sync(&server, &alice, Some(&first)).await), profiles(&second));

        remove(&server, &bob, STATUS).await;
        let fourth = sync(&server, &alice, Some(&third)).await;
        assert_eq!(profiles(&fourth), &updates(&bob, json!({ STATUS: null })));
        // The user's own, for their other devices.
        set(&server, &alice, STATUS, json!("busy")).await;
        let fifth = sync(&server, &alice, Some(&fourth)).await;
        assert_eq!(profiles(&fifth), &updates(&alice, json!({ STATUS: "busy" })));
        let versions = get_unauthenticated(&server, "/_matrix/client/versions").await;
        assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc4429"], json!(true));
    }
}

#[tokio::test]
async fn only_of_users_who_share_a_room() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room = public_room(&server, &alice).await;
        set(&server, &bob, STATUS, json!("here")).await;
        set(&server, &carol, STATUS, json!("here")).await;
        let first = sync(&server, &alice, None).await;
        assert!(profiles(&first).is_null(), "{first}");
        set(&server, &carol, STATUS, json!("elsewhere")).await;
        join(&server, &bob, &room).await;
        let second = sync(&server, &alice, Some(&first)).await;
        assert_eq!(profiles(&second), &updates(&bob, json!({ STATUS: "here" })));

        // Whoever comes learns of all who are there.
        let before = sync(&server, &carol, None).await;
        assert_eq!(profiles(&before), &updates(&carol, json!({ STATUS: "elsewhere" })));
        join(&server, &carol, &room).await;
        let joined = sync(&server, &carol, Some(&before)).await;
        assert_eq!(profiles(&joined)[&bob.id], json!({ "profile_updates": { STATUS: "here" } }));

        let other = public_room(&server, &bob).await;
        join(&server, &alice, &other).await;
        let third = sync(&server, &alice, Some(&second)).await;
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        let fourth = sync(&server, &alice, Some(&third)).await;
        assert!(profiles(&fourth).is_null(), "they share another room: {fourth}");
        server.post(&room_path(&other, "leave"), &alice.token, json!({})).await.ok();
        let fifth = sync(&server, &alice, Some(&fourth)).await;
        assert_eq!(profiles(&fifth), &json!({ &bob.id: { "profile_updates": null } }));
        set(&server, &bob, STATUS, json!("unseen")).await;
        assert!(profiles(&sync(&server, &alice, Some(&fifth)).await).is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_waits_is_woken() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        let first = sync(&server, &alice, None).await;
        let second = sync(&server, &alice, Some(&first)).await;
        let waiting = sync_within(&server, &alice, Some(next_batch(&second)), 600_000);
        let setting = async {
            set(&server, &bob, "org.example.unwanted", json!(1)).await;
            set(&server, &bob, STATUS, json!("here")).await;
        };
        let both = async { tokio::join!(waiting, setting).0 };
        let woken = within(Duration::from_secs(30), both).await.expect("the sync ends");
        assert_eq!(profiles(&woken), &updates(&bob, json!({ STATUS: "here" })));
    }
}

#[tokio::test]
async fn nobody_is_sent_profiles_that_they_did_not_ask_for() {
    for (config, flag) in [("", false), ("include_profile_updates_in_sync: true", true)] {
        let server = TestServer::on(plexus_testkit::TestPlace::sqlite()).config(config).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        set(&server, &bob, STATUS, json!("here")).await;
        let first = if flag {
            server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok().clone()
        } else {
            sync(&server, &alice, None).await
        };
        assert!(profiles(&first).is_null(), "{first}");
        let versions = get_unauthenticated(&server, "/_matrix/client/versions").await;
        assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc4429"], json!(flag));
    }
}

/// A sliding sync of a client that follows profiles.
async fn sliding(server: &TestServer, user: &TestUser, pos: Option<&str>, extension: Value) -> (String, Value) {
    let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";
    let path = pos.map_or_else(|| path.to_owned(), |pos| format!("{path}&pos={pos}"));
    let body = json!({
        "lists": { "all": { "ranges": [[0, 9]], "required_state": [["m.room.member", "$LAZY"]], "timeline_limit": 1 } },
        "extensions": { "org.matrix.msc4262.profiles": extension },
    });
    let answer = server.post(&path, &user.token, body).await.ok().clone();
    let profiles = answer["extensions"]["org.matrix.msc4262.profiles"]["users"].clone();
    (answer["pos"].as_str().unwrap().to_owned(), profiles)
}

fn follow(fields: &[&str]) -> Value {
    json!({ "enabled": true, "fields": fields })
}

#[tokio::test]
async fn sliding_sync_sends_the_profiles_of_rooms_and_then_what_changes() {
    for mut server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room = public_room(&server, &alice).await;
        join(&server, &carol, &room).await;
        join(&server, &bob, &room).await;
        for user in [&bob, &carol] {
            set(&server, user, STATUS, json!("here")).await;
        }
        // Members are loaded lazily: Bob joined last, and heroes are shown.
        let (pos, profiles) = sliding(&server, &alice, None, follow(&[STATUS])).await;
        let here = json!({ "updated": { STATUS: "here" } });
        assert_eq!(profiles, json!({ &bob.id: here, &carol.id: here }));
        set(&server, &bob, STATUS, json!("away")).await;
        set(&server, &carol, "org.example.other", json!(1)).await;
        server.restart().await;
        let (next, profiles) = sliding(&server, &alice, Some(&pos), follow(&[STATUS])).await;
        assert_eq!(profiles, json!({ &bob.id: { "updated": { STATUS: "away" } } }));
        let (_, again) = sliding(&server, &alice, Some(&pos), follow(&[STATUS])).await;
        assert_eq!(again, profiles);
        let (_, nothing) = sliding(&server, &alice, Some(&next), follow(&[STATUS])).await;
        assert!(nothing.is_null(), "{nothing}");

        remove(&server, &bob, STATUS).await;
        set(&server, &alice, STATUS, json!("busy")).await;
        let (pos, profiles) = sliding(&server, &alice, Some(&next), follow(&[STATUS])).await;
        let own = json!({ "updated": { STATUS: "busy" } });
        assert_eq!(profiles, json!({ &bob.id: { "removed": [STATUS] }, &alice.id: own }));

        // Other fields than before, and all of them after the extension was left out.
        let (pos, profiles) = sliding(&server, &alice, Some(&pos), follow(&["org.example.other"])).await;
        assert_eq!(profiles, json!({ &carol.id: { "updated": { "org.example.other": 1 } } }));
        let (pos, profiles) = sliding(&server, &alice, Some(&pos), json!({ "enabled": false })).await;
        assert!(profiles.is_null(), "{profiles}");
        set(&server, &bob, STATUS, json!("back")).await;
        let (pos, profiles) = sliding(&server, &alice, Some(&pos), json!({ "enabled": true })).await;
        assert_eq!(profiles[&bob.id]["updated"][STATUS], json!("back"));
        assert_eq!(profiles[&bob.id]["updated"]["displayname"], json!("bob"));

        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        let (_, profiles) = sliding(&server, &alice, Some(&pos), json!({ "enabled": true })).await;
        // Carol is a hero of the room, and heroes come with it.
        let fields = json!({ "displayname": "carol", STATUS: "here", "org.example.other": 1 });
        assert_eq!(profiles, json!({ &bob.id: null, &carol.id: { "updated": fields } }));
    }
}

#[tokio::test]
async fn sliding_sync_sends_the_profile_of_a_member_with_the_member_event() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let room = public_room(&server, &alice).await;
        // No heroes are shown.
        server.put(&room_path(&room, "state/m.room.name"), &alice.token, json!({ "name": "Tea" })).await.ok();
        join(&server, &carol, &room).await;
        join(&server, &bob, &room).await;
        for user in [&bob, &carol] {
            set(&server, user, STATUS, json!("here")).await;
        }
        let (pos, profiles) = sliding(&server, &alice, None, follow(&[STATUS])).await;
        let here = json!({ "updated": { STATUS: "here" } });
        assert_eq!(profiles, json!({ &bob.id: here }));
        crate::client::say(&server, &carol, &room, "hello").await;
        let (pos, profiles) = sliding(&server, &alice, Some(&pos), follow(&[STATUS])).await;
        assert_eq!(profiles, json!({ &carol.id: here }));
        for user in [&bob, &carol] {
            crate::client::say(&server, user, &room, "again").await;
        }
        let (_, profiles) = sliding(&server, &alice, Some(&pos), follow(&[STATUS])).await;
        assert!(profiles.is_null(), "the client has them: {profiles}");
    }
}

#[tokio::test]
async fn too_many_fields_are_refused() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";
    let many: Vec<String> = (0..51).map(|number| format!("f{number}")).collect();
    for (fields, code) in
        [(json!(many), "M_INVALID_PARAM"), (json!(["x".repeat(256)]), "M_INVALID_PARAM"), (json!("x"), "M_BAD_JSON")]
    {
        let body = json!({ "extensions": { "org.matrix.msc4262.profiles": { "enabled": true, "fields": fields } } });
        assert_eq!(server.post(path, &alice.token, body).await.refusal(), (400, code));
    }
}
