//! Guests, and rooms that are closed to them.

use http::Method;
use plexus_testkit::places;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{create, join, room_path, say, state};
use crate::federation::away::{Away, CLIENT, synced};

async fn guest(server: &TestServer) -> TestUser {
    let answer = server.request(Method::POST, &format!("{CLIENT}/register?kind=guest"), None, Some(json!({}))).await;
    let text = |name: &str| answer.ok()[name].as_str().unwrap_or_default().to_owned();
    TestUser { id: text("user_id"), token: text("access_token"), device_id: text("device_id") }
}

async fn open_to_guests(server: &TestServer, alice: &TestUser) -> String {
    let access = json!({ "type": "m.room.guest_access", "content": { "guest_access": "can_join" } });
    create(server, alice, json!({ "preset": "public_chat", "room_version": "11", "initial_state": [access] })).await
}

/// Waits until Alice sees that the user has left, of their own accord.
async fn has_left(server: &TestServer, alice: &TestUser, since: &Value, room: &str, user: &TestUser) {
    let has_left = |answer: &Value| {
        let timeline = answer["rooms"]["join"][room]["timeline"]["events"].as_array();
        let is_leave = |event: &Value| {
            let of_user = event["state_key"] == user.id.as_str() && event["sender"] == user.id.as_str();
            of_user && event["content"]["membership"] == "leave"
        };
        timeline.is_some_and(|events| events.iter().any(is_leave))
    };
    synced(server, alice, since.as_str().expect("a token"), has_left).await;
}

async fn now(server: &TestServer, user: &TestUser) -> Value {
    server.get(&format!("{CLIENT}/sync"), &user.token).await.ok()["next_batch"].clone()
}

async fn set(server: &TestServer, by: &TestUser, room: &str, content: Value) -> Answer {
    server.put(&room_path(room, "state/m.room.guest_access"), &by.token, content).await
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_leave_when_guest_access_ends() {
    for place in places() {
        let server = TestServer::on(place).config("allow_guest_access: true").start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (one, two) = (guest(&server).await, guest(&server).await);
        let other = open_to_guests(&server, &alice).await;
        join(&server, &one, &other).await;
        for way in ["forbidden", "nothing", "redacted"] {
            let room = open_to_guests(&server, &alice).await;
            for user in [&one, &two, &bob] {
                join(&server, user, &room).await;
            }
            let member = state(&server, &alice, &room, &format!("m.room.member/{}", one.id)).await;
            assert_eq!(member.ok()["kind"], "guest");
            let since = now(&server, &alice).await;
            match way {
                "forbidden" => _ = set(&server, &alice, &room, json!({ "guest_access": "forbidden" })).await.ok(),
                "nothing" => _ = set(&server, &alice, &room, json!({})).await.ok(),
                _ => {
                    let full = state(&server, &alice, &room, "m.room.guest_access?format=event").await;
                    let id = full.ok()["event_id"].as_str().expect("an id").to_owned();
                    server.put(&room_path(&room, &format!("redact/{id}/1")), &alice.token, json!({})).await.ok();
                }
            }
            for user in [&one, &two] {
                has_left(&server, &alice, &since, &room, user).await;
            }
            let member = state(&server, &alice, &room, &format!("m.room.member/{}", bob.id)).await;
            assert_eq!(member.ok()["membership"], "join", "{way}");
            let joining = server.post(&room_path(&room, "join"), &one.token, json!({})).await;
            assert_eq!(joining.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"), "{way}");
            // Open again: the guest is let in, and stays.
            set(&server, &alice, &room, json!({ "guest_access": "can_join" })).await.ok();
            join(&server, &one, &room).await;
        }
        let joined = server.get(&format!("{CLIENT}/joined_rooms"), &one.token).await;
        assert_eq!(joined.ok()["joined_rooms"].as_array().map(Vec::len), Some(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_leave_when_another_server_ends_guest_access() {
    for place in places() {
        let server = TestServer::on(place).config("allow_guest_access: true").start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let guest = guest(&server).await;
        let room = open_to_guests(&server, &alice).await;
        away.member(&server, &alice, &room, "join").await;
        let levels = state(&server, &alice, &room, "m.room.power_levels").await;
        let mut levels = levels.ok().clone();
        levels["users"][&away.bob] = json!(100);
        server.put(&room_path(&room, "state/m.room.power_levels"), &alice.token, levels).await.ok();
        join(&server, &guest, &room).await;
        let since = now(&server, &alice).await;
        let closing = closed_by_bob(&server, &alice, &away, &room).await;
        away.send(&server, "closing", vec![closing], Vec::new()).await.ok();
        has_left(&server, &alice, &since, &room, &guest).await;
    }
}

/// `m.room.guest_access` of Bob's, who is on the other server.
async fn closed_by_bob(server: &TestServer, alice: &TestUser, away: &Away, room: &str) -> Value {
    let all = server.get(&room_path(room, "state"), &alice.token).await.ok().clone();
    let id = |event_type: &str, key: &str| {
        let mut events = all.as_array().expect("events").iter();
        events.find(|event| event["type"] == event_type && event["state_key"] == key).map(|it| it["event_id"].clone())
    };
    let newest = server.get(&room_path(room, "messages?dir=b&limit=1"), &alice.token).await.ok().clone();
    let event = json!({
        "type": "m.room.guest_access", "state_key": "", "sender": away.bob, "room_id": room, "depth": 200,
        "origin_server_ts": 1_700_000_000_000_u64, "content": { "guest_access": "forbidden" },
        "prev_events": [newest["chunk"][0]["event_id"]],
        "auth_events": [id("m.room.create", ""), id("m.room.power_levels", ""), id("m.room.member", &away.bob)],
    });
    let event = plexus_protocol::json::Object::parse(&event.to_string()).expect("an object");
    let version = plexus_protocol::rules::RoomVersion::V11;
    let pdu = plexus_protocol::event::build::finish(event, version, away.peer.key(), away.peer.name());
    crate::federation::json_of(&pdu.expect("an event"))
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_do_nothing_by_state_that_they_may_not_do_otherwise() {
    for place in places() {
        let server = TestServer::on(place).config("allow_guest_access: true").start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let guest = guest(&server).await;
        let room = open_to_guests(&server, &alice).await;
        join(&server, &guest, &room).await;
        for membership in ["invite", "ban", "leave"] {
            let member = room_path(&room, &format!("state/m.room.member/{}", bob.id));
            let answer = server.put(&member, &guest.token, json!({ "membership": membership })).await;
            assert_eq!(answer.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"), "{membership}");
        }
        // What is known of a room that this server is not in does not say that it is open to guests.
        let elsewhere = "!elsewhere:else.example";
        let answer = server.post(&room_path(elsewhere, "join?via=else.example"), &guest.token, json!({})).await;
        assert_eq!(answer.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
        let own = room_path(&room, &format!("state/m.room.member/{}", guest.id));
        server.put(&own, &guest.token, json!({ "membership": "leave" })).await.ok();
    }
}

/// The answer to a registration by which a guest becomes a person.
async fn upgraded(server: &TestServer, username: &str, guest_token: &str) -> Answer {
    let body = json!({ "username": username, "password": "secret", "guest_access_token": guest_token });
    let first = server.request(Method::POST, &format!("{CLIENT}/register"), None, Some(body)).await;
    if first.body.get("session").is_none() {
        return first;
    }
    let auth = json!({ "auth": { "type": "m.login.dummy", "session": first.body["session"] } });
    server.request(Method::POST, &format!("{CLIENT}/register"), None, Some(auth)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_becomes_a_person_under_the_same_name() {
    for place in places() {
        let server = TestServer::on(place).config("allow_guest_access: true").start().await;
        let (alice, other) = (server.register("alice").await, guest(&server).await);
        let guest = guest(&server).await;
        let localpart = guest.id.trim_start_matches('@').split(':').next().unwrap_or_default().to_owned();
        let room = open_to_guests(&server, &alice).await;
        join(&server, &guest, &room).await;
        let name = format!("{CLIENT}/profile/{}/displayname", guest.id);
        server.put(&name, &guest.token, json!({ "displayname": "Visitor" })).await.ok();
        let avatar = name.replace("displayname", "avatar_url");
        let refused = server.put(&avatar, &guest.token, json!({ "avatar_url": "mxc://test.example/a" })).await;
        assert_eq!(refused.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
        assert_eq!(server.delete(&avatar, &guest.token).await.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));

        // Somebody else's token, no guest's token, no token, another name.
        assert_eq!(upgraded(&server, &localpart, &other.token).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(upgraded(&server, &localpart, &alice.token).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(upgraded(&server, &localpart, "nonsense").await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(upgraded(&server, "somebody", &guest.token).await.refusal(), (403, "M_FORBIDDEN"));
        let plain = json!({ "username": localpart, "password": "x" });
        let taken = server.request(Method::POST, &format!("{CLIENT}/register"), None, Some(plain)).await;
        assert_eq!(taken.status, 400);

        let answer = upgraded(&server, &localpart, &guest.token).await;
        assert_eq!(answer.ok()["user_id"], guest.id.as_str());
        let token = answer.ok()["access_token"].as_str().unwrap_or_default();
        let whoami = format!("{CLIENT}/account/whoami");
        assert_eq!(server.get(&whoami, token).await.ok()["is_guest"], false);
        assert_eq!(server.get(&whoami, &guest.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(upgraded(&server, &localpart, &guest.token).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(server.get(&name, token).await.ok()["displayname"], "Visitor");
        let joined = server.get(&format!("{CLIENT}/joined_rooms"), token).await;
        assert_eq!(joined.ok()["joined_rooms"], json!([room]));
        let login = json!({ "type": "m.login.password", "user": localpart, "password": "secret" });
        server.request(Method::POST, &format!("{CLIENT}/login"), None, Some(login)).await.ok();
        // Whoever is no guest stays when guest access ends.
        let since = now(&server, &alice).await;
        join(&server, &other, &room).await;
        set(&server, &alice, &room, json!({ "guest_access": "forbidden" })).await.ok();
        has_left(&server, &alice, &since, &room, &other).await;
        let joined = server.get(&format!("{CLIENT}/joined_rooms"), token).await;
        assert_eq!(joined.ok()["joined_rooms"], json!([room]));
    }
}

/// Two servers that reach each other, and a room of one of them that the other's guest is invited to.
#[tokio::test(flavor = "multi_thread")]
async fn an_invited_guest_joins_a_room_of_another_server() {
    for place in places() {
        let home = TestServer::on(place).config("allow_guest_access: true").federating().start().await;
        let away = TestServer::on(plexus_testkit::TestPlace::sqlite()).federating().start().await;
        let alice = away.register("alice").await;
        for (access, is_let_in) in [("can_join", true), ("forbidden", false)] {
            let guest = guest(&home).await;
            let room = create(
                &away,
                &alice,
                json!({
                    "preset": "private_chat", "invite": [guest.id], "initial_state": [
                        { "type": "m.room.guest_access", "content": { "guest_access": access } },
                    ],
                }),
            );
            let room = room.await;
            let since = now(&away, &alice).await;
            let joining = home.post(&room_path(&room, "join"), &guest.token, json!({})).await;
            let has_left = |answer: &Value| {
                let events = answer["rooms"]["join"][&room]["timeline"]["events"].as_array();
                let is_leave = |event: &Value| {
                    event["state_key"] == guest.id.as_str() && event["content"]["membership"] == "leave"
                };
                events.is_some_and(|events| events.iter().any(is_leave))
            };
            if is_let_in {
                joining.ok();
                assert!(!say(&home, &guest, &room, "hello").await.is_empty());
                continue;
            }
            assert_eq!(joining.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
            // The guest does not stay, though the other server has let them in.
            synced(&away, &alice, since.as_str().expect("a token"), has_left).await;
        }
    }
}

/// What guests are refused, as in Synapse: the specification's list of what they may do does not have it.
const REFUSED: [(&str, &str); 12] = [
    ("POST", "search"),
    ("POST", "createRoom"),
    ("POST", "pushers/set"),
    ("GET", "pushers"),
    ("GET", "notifications"),
    ("POST", "user_directory/search"),
    ("POST", "rooms/ROOM/invite"),
    ("POST", "rooms/ROOM/kick"),
    ("POST", "rooms/ROOM/ban"),
    ("POST", "rooms/ROOM/upgrade"),
    ("PUT", "rooms/ROOM/typing/USER"),
    ("PUT", "user/USER/account_data/m.x"),
];

/// What the specification lets guests do (<https://spec.matrix.org/v1.19/client-server-api/#guest-access>), apart from
/// joining and leaving.
const PERMITTED: [(&str, &str); 18] = [
    ("GET", "rooms/ROOM/state"),
    ("GET", "rooms/ROOM/context/EVENT"),
    ("GET", "rooms/ROOM/event/EVENT"),
    ("GET", "rooms/ROOM/state/m.room.create/"),
    ("GET", "rooms/ROOM/messages?dir=b"),
    ("GET", "rooms/ROOM/members"),
    ("GET", "rooms/ROOM/initialSync"),
    ("GET", "sync"),
    ("GET", "events?room_id=ROOM&timeout=0"),
    ("PUT", "rooms/ROOM/send/m.x/1"),
    ("PUT", "sendToDevice/m.x/1"),
    ("PUT", "profile/USER/displayname"),
    ("GET", "devices"),
    ("GET", "devices/DEVICE"),
    ("PUT", "devices/DEVICE"),
    ("GET", "account/whoami"),
    ("POST", "keys/query"),
    ("POST", "keys/claim"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_guests_may_ask_for() {
    for place in places() {
        let server = TestServer::on(place).config("allow_guest_access: true").start().await;
        let (alice, guest) = (server.register("alice").await, guest(&server).await);
        let room = open_to_guests(&server, &alice).await;
        join(&server, &guest, &room).await;
        let event = say(&server, &alice, &room, "for guests too").await;
        let secret = create(&server, &alice, json!({ "preset": "public_chat" })).await;
        say(&server, &alice, &secret, "not for guests").await;
        let body = json!({
            "search_categories": { "room_events": { "search_term": "guests" } }, "user_id": alice.id, "limit": 1,
            "new_version": "11", "typing": true, "search_term": "x", "messages": {}, "displayname": "Guest",
            "device_keys": {}, "one_time_keys": {},
        });
        let ask = async |method: &str, path: &str| {
            let names = [("ROOM", &room), ("EVENT", &event), ("USER", &guest.id), ("DEVICE", &guest.device_id)];
            let path = names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
            let method: Method = method.parse().expect("a method");
            let body = (method != Method::GET).then(|| body.clone());
            server.request(method, &format!("{CLIENT}/{path}"), Some(&guest.token), body).await
        };
        for (method, path) in PERMITTED {
            let answer = ask(method, path).await;
            assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        }
        for (method, path) in REFUSED {
            let answer = ask(method, path).await;
            assert_eq!(answer.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"), "{method} {path}");
        }
        // Sliding sync, as `/sync`: the rooms that the guest is in, and no others.
        let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
        let wanted = json!({ "timeline_limit": 10, "required_state": [["m.room.create", ""]] });
        let mut list = wanted.clone();
        list["ranges"] = json!([[0, 9]]);
        let body = json!({ "lists": { "all": list }, "room_subscriptions": { secret.as_str(): wanted } });
        let synced = server.post(path, &guest.token, body).await;
        assert_eq!(synced.ok()["lists"]["all"]["count"], 1, "{synced:?}");
        let rooms: Vec<&String> = synced.body["rooms"].as_object().expect("rooms").keys().collect();
        assert_eq!(rooms, [&room]);
        let timeline = synced.body["rooms"][&room]["timeline"].as_array().expect("events");
        assert!(timeline.iter().any(|shown| shown["event_id"] == event.as_str()), "{timeline:?}");
    }
}
