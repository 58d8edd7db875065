//! `POST /rooms/{room_id}/upgrade`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{create, join, public_room, room_path, send, state};

const OPEN: &str = "room_list_publication_rules: [{action: allow}]";

async fn upgrade(server: &TestServer, user: &TestUser, old: &str, version: &str) -> String {
    let answer = server.post(&room_path(old, "upgrade"), &user.token, json!({ "new_version": version })).await;
    answer.ok()["replacement_room"].as_str().unwrap_or_default().to_owned()
}

/// A room with everything that an upgrade takes along.
async fn furnished(server: &TestServer, alice: &TestUser, bob: &TestUser, version: &str) -> String {
    let mut levels = json!({
        "users": { &bob.id: 60 }, "users_default": 1, "events_default": 2, "invite": 3, "kick": 55,
        "events": { "m.room.name": 70, "m.room.power_levels": 90 }, "notifications": { "room": 20 },
    });
    if version != "12" {
        levels["users"][&alice.id] = json!(100);
    }
    let state = |event_type: &str, content: Value| json!({ "type": event_type, "content": content });
    let body = json!({
        "room_version": version, "preset": "public_chat", "visibility": "public", "room_alias_name": "moving",
        "creation_content": { "type": "org.example.lounge", "m.federate": false, "org.example.note": 1 },
        "power_level_content_override": levels,
        "name": "Old", "topic": "All of it",
        "initial_state": [
            state("m.room.avatar", json!({ "url": "mxc://test.example/a" })),
            state("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 7 })),
            state("m.room.guest_access", json!({ "guest_access": "can_join" })),
            state("m.room.history_visibility", json!({ "history_visibility": "joined" })),
            state("m.room.join_rules", json!({ "join_rule": "public", "org.example.note": 1 })),
            state("m.room.server_acl", json!({ "allow": ["*"], "deny": ["bad.example"], "allow_ip_literals": false })),
            state("org.example.custom", json!({ "by": "alice" })),
            state("m.space.child", json!({ "via": ["test.example"] })),
        ],
    });
    let room = create(server, alice, body).await;
    let also = "/_matrix/client/v3/directory/room/%23also:test.example";
    server.put(also, &alice.token, json!({ "room_id": room })).await.ok();
    let content = json!({ "alias": "#moving:test.example", "alt_aliases": ["#also:test.example"] });
    server.put(&room_path(&room, "state/m.room.canonical_alias"), &alice.token, content).await.ok();
    let ban = json!({ "user_id": "@carol:test.example", "reason": "spam" });
    server.post(&room_path(&room, "ban"), &alice.token, ban).await.ok();
    join(server, bob, &room).await;
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_over() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(OPEN).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for (from, to) in [("9", "11"), ("11", "12"), ("12", "10")] {
            let old = furnished(&server, &alice, &bob, from).await;
            let levels = state(&server, &alice, &old, "m.room.power_levels").await.ok().clone();
            let new = upgrade(&server, &alice, &old, to).await;
            same_state(&server, &alice, &old, &new).await;
            addresses_moved(&server, &alice, &old, &new).await;
            created_from(&server, &alice, (&old, &new), to).await;

            let mut expected = levels.clone();
            match (from, to) {
                // Creators have no level there.
                (_, "12") => _ = expected["users"].as_object_mut().unwrap().remove(&alice.id),
                ("12", _) => expected["users"][&alice.id] = json!(100),
                _ => {}
            }
            assert_eq!(state(&server, &alice, &new, "m.room.power_levels").await.ok(), &expected, "{from} to {to}");
            // The old room is closed to those with no level of their own.
            let closed = state(&server, &alice, &old, "m.room.power_levels").await.ok().clone();
            assert_eq!(closed, json_with(levels, json!({ "events_default": 50, "invite": 50 })));
            join(&server, &bob, &new).await;
            let moved = json!({ "alias": null, "alt_aliases": [] });
            server.put(&room_path(&new, "state/m.room.canonical_alias"), &alice.token, moved).await.ok();
            for alias in ["also", "moving"] {
                server
                    .delete(&format!("/_matrix/client/v3/directory/room/%23{alias}:test.example"), &alice.token)
                    .await;
            }
        }
    }
}

fn json_with(mut object: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

async fn same_state(server: &TestServer, alice: &TestUser, old: &str, new: &str) {
    for event_type in [
        "m.room.avatar",
        "m.room.encryption",
        "m.room.guest_access",
        "m.room.history_visibility",
        "m.room.join_rules",
        "m.room.name",
        "m.room.server_acl",
        "m.room.topic",
    ] {
        let (before, after) =
            (state(server, alice, old, event_type).await, state(server, alice, new, event_type).await);
        assert_eq!(after.ok(), before.ok(), "{event_type}");
    }
    let ban = state(server, alice, new, "m.room.member/@carol:test.example").await;
    assert_eq!((&ban.ok()["membership"], &ban.body["reason"]), (&json!("ban"), &json!("spam")));
    // Of what others may have set nothing is said in this sender's name, and a room that is no space has no children.
    for absent in ["org.example.custom", "m.space.child", "m.room.member/@bob:test.example"] {
        assert_eq!(state(server, alice, new, absent).await.refusal(), (404, "M_NOT_FOUND"), "{absent}");
    }
}

async fn addresses_moved(server: &TestServer, alice: &TestUser, old: &str, new: &str) {
    for alias in ["also", "moving"] {
        let alias = format!("/_matrix/client/v3/directory/room/%23{alias}:test.example");
        assert_eq!(server.get(&alias, &alice.token).await.ok()["room_id"], new);
    }
    let canonical = json!({ "alias": "#moving:test.example", "alt_aliases": ["#also:test.example"] });
    assert_eq!(state(server, alice, new, "m.room.canonical_alias").await.ok(), &canonical);
    assert_eq!(state(server, alice, old, "m.room.canonical_alias").await.ok(), &json!({}));
    for (room, visibility) in [(old, "private"), (new, "public")] {
        let entry = format!("/_matrix/client/v3/directory/list/room/{room}");
        assert_eq!(server.get(&entry, &alice.token).await.ok()["visibility"], visibility);
    }
}

async fn created_from(server: &TestServer, alice: &TestUser, (old, new): (&str, &str), version: &str) {
    let tombstone = server.get(&room_path(old, "state/m.room.tombstone/?format=event"), &alice.token).await;
    assert_eq!(tombstone.ok()["content"]["replacement_room"], new);
    let create = state(server, alice, new, "m.room.create").await;
    assert_eq!(create.ok()["room_version"], version);
    assert_eq!((&create.body["type"], &create.body["m.federate"]), (&json!("org.example.lounge"), &json!(false)));
    assert_eq!(create.body.get("org.example.note"), None);
    let predecessor = &create.body["predecessor"];
    assert_eq!(predecessor["room_id"], old);
    // From room version 12 on the tombstone names the create event, whose hash is the room's id.
    match version {
        "12" => assert_eq!(predecessor.get("event_id"), None),
        _ => assert_eq!(predecessor["event_id"], tombstone.body["event_id"]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_need_the_power_to_send_the_tombstone() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let old = public_room(&server, &alice).await;
    join(&server, &bob, &old).await;
    let body = json!({ "new_version": "12" });
    assert_eq!(
        server.post(&room_path(&old, "upgrade"), &bob.token, body.clone()).await.refusal(),
        (403, "M_FORBIDDEN")
    );
    let joined = server.get("/_matrix/client/v3/joined_rooms", &bob.token).await;
    assert_eq!(joined.ok()["joined_rooms"], json!([old]), "no room is left behind");
    let odd = server.post(&room_path(&old, "upgrade"), &alice.token, json!({ "new_version": "x" })).await;
    assert_eq!(odd.refusal(), (400, "M_UNSUPPORTED_ROOM_VERSION"));
    let unknown = server.post(&room_path("!none:test.example", "upgrade"), &alice.token, body).await;
    assert_eq!(unknown.refusal(), (404, "M_NOT_FOUND"));
    let new = upgrade(&server, &alice, &old, "12").await;
    assert_eq!(
        send(&server, &bob, &old, "m.room.message", json!({ "msgtype": "m.text", "body": "late" })).await.refusal(),
        (403, "M_FORBIDDEN")
    );
    join(&server, &bob, &new).await;
}

/// Who may send the tombstone replaces the room, also with state that only others could set.
#[tokio::test(flavor = "multi_thread")]
async fn a_moderator_upgrades_a_room() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let levels = json!({
            "users": { &alice.id: 100, &bob.id: 50, "@carol:test.example": 60 }, "events": { "m.room.tombstone": 50,
            "m.room.server_acl": 100, "m.room.power_levels": 100, "m.room.encryption": 100 },
        });
        let acl = json!({ "type": "m.room.server_acl", "content": { "allow": ["*"], "deny": ["bad.example"] } });
        let body = json!({
            "room_version": "10", "preset": "public_chat", "power_level_content_override": levels,
            "initial_state": [acl],
        });
        let old = create(&server, &alice, body).await;
        join(&server, &bob, &old).await;
        server.post(&room_path(&old, "ban"), &alice.token, json!({ "user_id": "@carol:test.example" })).await.ok();
        let before = state(&server, &bob, &old, "m.room.power_levels").await.ok().clone();
        let new = upgrade(&server, &bob, &old, "11").await;
        assert_eq!(state(&server, &bob, &new, "m.room.power_levels").await.ok(), &before);
        assert_eq!(state(&server, &bob, &new, "m.room.server_acl").await.ok()["deny"], json!(["bad.example"]));
        assert_eq!(state(&server, &bob, &new, "m.room.member/@carol:test.example").await.ok()["membership"], "ban");
        // What the moderator may not do in the old room stays undone.
        assert_eq!(state(&server, &bob, &old, "m.room.power_levels").await.ok(), &before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_takes_its_rooms_along() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let child =
            |room: &str, content: Value| json!({ "type": "m.space.child", "state_key": room, "content": content });
        let kept = json!({ "via": ["test.example"], "order": "a", "suggested": true });
        let body = json!({
            "room_version": "11", "creation_content": { "type": "m.space" },
            "initial_state": [child("!kept:test.example", kept.clone()), child("!gone:test.example", json!({}))],
        });
        let old = create(&server, &alice, body).await;
        let new = upgrade(&server, &alice, &old, "12").await;
        assert_eq!(state(&server, &alice, &new, "m.room.create").await.ok()["type"], "m.space");
        assert_eq!(state(&server, &alice, &new, "m.space.child/!kept:test.example").await.ok(), &kept);
        let gone = state(&server, &alice, &new, "m.space.child/!gone:test.example").await;
        assert_eq!(gone.refusal(), (404, "M_NOT_FOUND"));
    }
}

/// A user's settings for rooms.
struct Settings<'a> {
    server: &'a TestServer,
    user: &'a TestUser,
}

impl Settings<'_> {
    fn at(&self, rest: &str) -> String {
        format!("/_matrix/client/v3/user/{}/{rest}", self.user.id)
    }

    async fn put(&self, path: &str, content: Value) {
        self.server.put(path, &self.user.token, content).await.ok();
    }

    async fn get(&self, path: &str) -> Value {
        self.server.get(path, &self.user.token).await.body
    }

    /// Marks the room as a favourite that is read in silence and shared with one other user only.
    async fn make(&self, room: &str) {
        self.put(&self.at(&format!("rooms/{room}/tags/m.favourite")), json!({ "order": 0.25 })).await;
        self.put(&self.at("account_data/m.direct"), json!({ "@dave:test.example": [room] })).await;
        self.put(&format!("/_matrix/client/v3/pushrules/global/room/{room}"), json!({ "actions": ["notify"] })).await;
        let condition = json!({ "kind": "event_match", "key": "room_id", "pattern": room });
        let mute = json!({ "actions": [], "conditions": [condition] });
        self.put(&format!("/_matrix/client/v3/pushrules/global/override/{room}"), mute).await;
    }

    /// Tags, rooms of `m.direct`, and the rules about a room.
    async fn of(&self, room: &str) -> (Value, Value, Vec<Value>) {
        let rules = self.get("/_matrix/client/v3/pushrules/").await;
        let mut about = Vec::new();
        for kind in ["override", "room"] {
            let rules = rules["global"][kind].as_array().into_iter().flatten();
            about.extend(
                rules
                    .filter(|rule| rule["rule_id"] == room)
                    .map(|rule| json!([kind, rule["enabled"], rule["conditions"][0]["pattern"], rule["actions"]])),
            );
        }
        let tags = self.get(&self.at(&format!("rooms/{room}/tags"))).await["tags"].clone();
        let direct = self.get(&self.at("account_data/m.direct")).await["@dave:test.example"].clone();
        (tags, direct, about)
    }

    /// What [`Self::of`] answers when `make` has been called for `old`, and the settings hold for `new`.
    fn copied(old: &str, new: &str) -> (Value, Value, Vec<Value>) {
        let rules = vec![json!(["override", true, new, []]), json!(["room", true, null, ["notify"]])];
        (json!({ "m.favourite": { "order": 0.25 } }), json!([old, new]), rules)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_members_go_over_when_they_join() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let old = create(&server, &alice, json!({ "room_version": "10", "preset": "public_chat" })).await;
        join(&server, &bob, &old).await;
        let [of_alice, of_bob] = [&alice, &bob].map(|user| Settings { server: &server, user });
        of_alice.make(&old).await;
        of_bob.make(&old).await;
        let new = upgrade(&server, &alice, &old, "12").await;
        assert_eq!(of_alice.of(&new).await, Settings::copied(&old, &new));
        assert_eq!(of_bob.of(&new).await, (json!({}), json!([old]), Vec::new()));
        join(&server, &bob, &new).await;
        assert_eq!(of_bob.of(&new).await, Settings::copied(&old, &new));
        // What bob then takes away stays away, also when he comes back.
        server.delete(&of_bob.at(&format!("rooms/{new}/tags/m.favourite")), &bob.token).await.ok();
        of_bob.put(&of_bob.at("account_data/m.direct"), json!({})).await;
        for kind in ["override", "room"] {
            let rule = format!("/_matrix/client/v3/pushrules/global/{kind}/{new}");
            server.delete(&rule, &bob.token).await.ok();
        }
        server.post(&room_path(&new, "leave"), &bob.token, json!({})).await.ok();
        join(&server, &bob, &new).await;
        assert_eq!(of_bob.of(&new).await, (json!({}), Value::Null, Vec::new()));
    }
}

/// Anybody can make a room that names another as its predecessor.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_only_claims_to_replace_another_gets_nothing() {
    for server in TestServer::on_each().await {
        let (alice, mallory) = (server.register("alice").await, server.register("mallory").await);
        let old = public_room(&server, &alice).await;
        let settings = Settings { server: &server, user: &alice };
        settings.make(&old).await;
        let creation_content = json!({ "predecessor": { "room_id": old, "event_id": "$x" } });
        let body = json!({ "preset": "public_chat", "creation_content": creation_content });
        let new = create(&server, &mallory, body).await;
        join(&server, &alice, &new).await;
        assert_eq!(settings.of(&new).await, (json!({}), json!([old]), Vec::new()));
        // Nor when the other room has been replaced by yet another.
        let successor = upgrade(&server, &alice, &old, "12").await;
        let body = json!({ "preset": "public_chat", "creation_content": { "predecessor": { "room_id": old } } });
        let new = create(&server, &mallory, body).await;
        join(&server, &alice, &new).await;
        let (tags, direct, rules) = settings.of(&new).await;
        assert_eq!((tags, direct, rules), (json!({}), json!([old, successor]), Vec::new()));
    }
}

/// Whoever follows the tombstone finds the room in which everybody else is.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_replaced_once() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for version in ["11", "12"] {
            let levels = json!({ "users": { &alice.id: 100, &bob.id: 100 } });
            let body = json!({ "preset": "public_chat", "room_version": "11", "power_level_content_override": levels });
            let old = create(&server, &alice, body).await;
            join(&server, &bob, &old).await;
            let ask = async |user: &TestUser| {
                server.post(&room_path(&old, "upgrade"), &user.token, json!({ "new_version": version })).await
            };
            let (first, again, bobs) = tokio::join!(ask(&alice), ask(&alice), ask(&bob));
            let tombstone = state(&server, &alice, &old, "m.room.tombstone").await;
            let new = tombstone.ok()["replacement_room"].clone();
            for answer in [&first, &again, &bobs] {
                match answer.status {
                    200 => assert_eq!(answer.body["replacement_room"], new, "{version}"),
                    _ => assert_eq!(answer.refusal(), (400, "M_UNKNOWN"), "{version}"),
                }
            }
            assert_eq!(first.status, again.status);
            assert!((first.status == 200) != (bobs.status == 200), "{first:?} {bobs:?}");
            // Later it can be replaced once more.
            let later = ask(&bob).await;
            assert_ne!(later.ok()["replacement_room"], new);
        }
    }
}
