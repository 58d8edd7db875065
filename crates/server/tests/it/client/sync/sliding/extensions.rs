//! The extensions: messages to devices, keys, account data, receipts and typing.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use super::{PATH, bodies, list, pos, sliding};
use crate::client::{create, join, next_batch, public_room, room_path, say, sync, two_in_a_room};

/// `body` with an extension.
fn with(mut body: Value, name: &str, mut config: Value) -> Value {
    config["enabled"] = json!(true);
    body["extensions"][name] = config;
    body
}

async fn send_to_device(server: &TestServer, from: &TestUser, to: &TestUser, number: usize) {
    let content = json!({ "messages": { &to.id: { &to.device_id: { "number": number } } } });
    let txn = plexus_testkit::unique_name();
    let path = format!("/_matrix/client/v3/sendToDevice/m.test/{txn}");
    server.put(&path, &from.token, content).await.ok();
}

#[tokio::test]
async fn messages_to_the_device_are_kept_until_they_are_acknowledged() {
    for mut server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for number in 0..3 {
            send_to_device(&server, &alice, &bob, number).await;
        }
        let numbers = |response: &Value| -> Vec<u64> {
            let events = response["extensions"]["to_device"]["events"].as_array().expect("events");
            events.iter().filter_map(|event| event["content"]["number"].as_u64()).collect()
        };
        let since = |response: &Value| response["extensions"]["to_device"]["next_batch"].clone();
        let first = sliding(&server, &bob, None, with(json!({}), "to_device", json!({ "limit": 2 }))).await;
        assert_eq!(numbers(&first), [0, 1]);
        let again = sliding(&server, &bob, None, with(json!({}), "to_device", json!({}))).await;
        assert_eq!(numbers(&again), [0, 1, 2]);
        server.restart().await;
        let config = json!({ "since": since(&first) });
        let second = sliding(&server, &bob, Some(pos(&again)), with(json!({}), "to_device", config)).await;
        assert_eq!(numbers(&second), [2]);
        let other = json!({ "conn_id": "other" });
        let again = sliding(&server, &bob, None, with(other, "to_device", json!({}))).await;
        assert_eq!(numbers(&again), [2], "the others are deleted");
        let config = json!({ "since": since(&second) });
        let body = with(json!({}), "to_device", config);
        let path = format!("{PATH}?timeout=60000&pos={}", pos(&second));
        let waiting = server.post(&path, &bob.token, body);
        let (third, ()) = tokio::join!(waiting, send_to_device(&server, &alice, &bob, 7));
        assert_eq!(numbers(third.ok()), [7]);
        let future = with(json!({}), "to_device", json!({ "since": "999999999" }));
        let answer = sliding(&server, &bob, None, future).await;
        assert_eq!(numbers(&answer), [7], "a token of the future acknowledges nothing");
        assert_eq!(since(&answer), since(third.ok()));
    }
}

#[tokio::test]
async fn device_lists_and_key_counts_follow_all_rooms() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let carol = server.register("carol").await;
        let upload = |user: &TestUser| {
            let [curve, ed] = ["curve25519", "ed25519"].map(|kind| format!("{kind}:{}", user.device_id));
            json!({ "device_keys": {
                "user_id": &user.id, "device_id": &user.device_id, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
                "keys": { &curve: "AAAA", &ed: "BBBB" }, "signatures": { &user.id: { &ed: "CCCC" } },
            } })
        };
        // Without any list: the rooms need not be in a window.
        let body = with(json!({}), "e2ee", json!({}));
        let first = sliding(&server, &bob, None, body.clone()).await;
        let e2ee = &first["extensions"]["e2ee"];
        assert_eq!(e2ee["device_one_time_keys_count"]["signed_curve25519"], 0);
        assert_eq!((&e2ee["device_unused_fallback_key_types"], &e2ee["device_lists"]), (&json!([]), &Value::Null));
        server.post("/_matrix/client/v3/keys/upload", &alice.token, upload(&alice)).await.ok();
        server.post("/_matrix/client/v3/keys/upload", &carol.token, upload(&carol)).await.ok();
        let second = sliding(&server, &bob, Some(pos(&first)), body.clone()).await;
        assert_eq!(second["extensions"]["e2ee"]["device_lists"], json!({ "changed": [&alice.id], "left": [] }));
        join(&server, &carol, &room).await;
        let third = sliding(&server, &bob, Some(pos(&second)), body.clone()).await;
        assert_eq!(third["extensions"]["e2ee"]["device_lists"]["changed"], json!([&carol.id]));
        server.post(&room_path(&room, "leave"), &carol.token, json!({})).await.ok();
        let fourth = sliding(&server, &bob, Some(pos(&third)), body.clone()).await;
        assert_eq!(fourth["extensions"]["e2ee"]["device_lists"], json!({ "changed": [], "left": [&carol.id] }));
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        let fifth = sliding(&server, &bob, Some(pos(&fourth)), body.clone()).await;
        assert_eq!(fifth["extensions"]["e2ee"]["device_lists"]["left"], json!([&alice.id]));
        let other = public_room(&server, &carol).await;
        join(&server, &bob, &other).await;
        let sixth = sliding(&server, &bob, Some(pos(&fifth)), body).await;
        let changed = sixth["extensions"]["e2ee"]["device_lists"]["changed"].as_array().expect("users");
        assert!(changed.contains(&json!(&carol.id)));
    }
}

#[tokio::test]
async fn account_data_comes_whole_first_and_then_what_is_new() {
    for mut server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let (old, new) = (public_room(&server, &alice).await, public_room(&server, &alice).await);
        let account = format!("/_matrix/client/v3/user/{}", alice.id);
        let set = async |server: &TestServer, path: &str, number: u64| {
            let path = format!("{account}/{path}");
            server.put(&path, &alice.token, json!({ "number": number })).await.ok();
        };
        set(&server, "account_data/org.example", 1).await;
        set(&server, &format!("rooms/{old}/account_data/org.example"), 2).await;
        set(&server, &format!("rooms/{new}/account_data/org.example"), 3).await;
        let body = |last: usize| with(list(0, last, 0), "account_data", json!({}));
        let first = sliding(&server, &alice, None, body(0)).await;
        let data = &first["extensions"]["account_data"];
        let types = |data: &Value| -> Vec<String> {
            let global = data["global"].as_array().expect("events").iter();
            global.filter_map(|event| event["type"].as_str().map(str::to_owned)).collect()
        };
        assert_eq!(types(data), ["m.push_rules", "org.example"]);
        assert_eq!(data["rooms"], json!({ &new: [{ "type": "org.example", "content": { "number": 3 } }] }));
        let second = sliding(&server, &alice, Some(pos(&first)), body(0)).await;
        assert!(second["extensions"]["account_data"].is_null());
        set(&server, "account_data/org.other", 4).await;
        set(&server, &format!("rooms/{new}/account_data/org.other"), 5).await;
        let third = sliding(&server, &alice, Some(pos(&second)), body(0)).await;
        let data = &third["extensions"]["account_data"];
        assert_eq!(types(data), ["org.other"]);
        assert_eq!(data["rooms"][&new], json!([{ "type": "org.other", "content": { "number": 5 } }]));
        // The room leaves the window and comes back.
        say(&server, &alice, &old, "up").await;
        let fourth = sliding(&server, &alice, Some(pos(&third)), body(0)).await;
        assert_eq!(fourth["extensions"]["account_data"]["rooms"][&old][0]["content"]["number"], 2);
        set(&server, &format!("rooms/{new}/account_data/org.other"), 6).await;
        let fifth = sliding(&server, &alice, Some(pos(&fourth)), body(0)).await;
        assert!(fifth["extensions"]["account_data"].is_null());
        server.restart().await;
        let sixth = sliding(&server, &alice, Some(pos(&fifth)), body(1)).await;
        let expected = json!({ &new: [{ "type": "org.other", "content": { "number": 6 } }] });
        assert_eq!(sixth["extensions"]["account_data"]["rooms"], expected);
        // Only what is asked for.
        let none = with(list(0, 9, 0), "account_data", json!({ "lists": [], "rooms": ["*"] }));
        let answer = sliding(&server, &alice, None, none).await;
        assert_eq!(answer["extensions"]["account_data"]["rooms"], json!({}));
    }
}

#[tokio::test]
async fn receipts_come_with_the_events_they_are_for() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        let read = async |user: &TestUser, event: &str, kind: &str| {
            let path = room_path(&room, &format!("receipt/{kind}/{event}"));
            server.post(&path, &user.token, json!({})).await.ok();
        };
        let early = say(&server, &alice, &room, "early").await;
        let late = say(&server, &alice, &room, "late").await;
        read(&bob, &early, "m.read").await;
        read(&carol, &early, "m.read").await;
        read(&alice, &late, "m.read.private").await;
        let body = |last: usize, limit: usize| with(list(0, last, limit), "receipts", json!({}));
        let first = sliding(&server, &bob, None, body(9, 1)).await;
        let content = |response: &Value| response["extensions"]["receipts"]["rooms"][&room]["content"].clone();
        let events: Vec<String> = content(&first).as_object().expect("receipts").keys().cloned().collect();
        assert_eq!(events, [early.as_str()], "one's own, and those of the timeline");
        assert!(content(&first)[&early]["m.read"][&carol.id].is_null());
        read(&carol, &late, "m.read").await;
        let second = sliding(&server, &bob, Some(pos(&first)), body(9, 1)).await;
        assert!(content(&second)[&late]["m.read"][&carol.id]["ts"].is_u64());
        assert_eq!(second["rooms"], json!({}));
        let third = sliding(&server, &bob, Some(pos(&second)), body(9, 1)).await;
        assert!(third["extensions"]["receipts"].is_null());
        // A longer timeline brings the receipts for it.
        let fourth = sliding(&server, &bob, Some(pos(&third)), body(9, 5)).await;
        assert!(content(&fourth)[&late]["m.read"][&carol.id].is_object(), "{fourth}");
        // Receipts in a room out of sight come when it is seen again.
        let other = create(&server, &bob, json!({})).await;
        let fifth = sliding(&server, &bob, Some(pos(&fourth)), body(0, 5)).await;
        assert_eq!(fifth["rooms"][&other]["initial"], true);
        read(&alice, &late, "m.read").await;
        let sixth = sliding(&server, &bob, Some(pos(&fifth)), body(0, 5)).await;
        assert!(sixth["extensions"]["receipts"].is_null());
        let seventh = sliding(&server, &bob, Some(pos(&sixth)), body(1, 5)).await;
        assert!(content(&seventh)[&late]["m.read"][&alice.id].is_object(), "{seventh}");
        assert!(content(&seventh)[&late]["m.read"][&carol.id].is_null());
    }
}

#[tokio::test]
async fn what_comes_while_an_extension_is_left_out_comes_later() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let both = || with(with(list(0, 9, 1), "account_data", json!({})), "receipts", json!({}));
        let first = sliding(&server, &bob, None, both()).await;
        let account = format!("/_matrix/client/v3/user/{}", bob.id);
        for path in ["account_data/org.example".to_owned(), format!("rooms/{room}/account_data/org.example")] {
            server.put(&format!("{account}/{path}"), &bob.token, json!({ "number": 1 })).await.ok();
        }
        let event = say(&server, &alice, &room, "hello").await;
        server.post(&room_path(&room, &format!("receipt/m.read/{event}")), &alice.token, json!({})).await.ok();
        let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 1)).await;
        assert_eq!(bodies(&second["rooms"][&room]), ["hello"]);
        let third = sliding(&server, &bob, Some(pos(&second)), both()).await;
        let extensions = &third["extensions"];
        let global = extensions["account_data"]["global"].as_array().expect("events");
        assert!(global.iter().any(|event| event["type"] == "org.example"), "{third}");
        assert_eq!(extensions["account_data"]["rooms"][&room][0]["content"]["number"], 1);
        assert!(extensions["receipts"]["rooms"][&room]["content"][&event]["m.read"][&alice.id].is_object(), "{third}");
    }
}

#[tokio::test]
async fn typing_users_are_shown_in_the_rooms_of_the_response() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let typing = async |typing: bool| {
        let path = room_path(&room, &format!("typing/{}", alice.id));
        server.put(&path, &alice.token, json!({ "typing": typing, "timeout": 30_000 })).await.ok();
    };
    typing(true).await;
    let body = with(list(0, 9, 1), "typing", json!({}));
    let users = |response: &Value| response["extensions"]["typing"]["rooms"][&room]["content"]["user_ids"].clone();
    let first = sliding(&server, &bob, None, body.clone()).await;
    assert_eq!(users(&first), json!([&alice.id]));
    let second = sliding(&server, &bob, Some(pos(&first)), body.clone()).await;
    assert!(second["extensions"]["typing"].is_null());
    let path = format!("{PATH}?timeout=60000&pos={}", pos(&second));
    let (third, ()) = tokio::join!(server.post(&path, &bob.token, body.clone()), typing(false));
    assert_eq!(users(third.ok()), json!([]));
}

#[tokio::test]
async fn ignored_users_neither_type_nor_read() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let carol = server.register("carol").await;
    join(&server, &carol, &room).await;
    let ignored = json!({ "ignored_users": { &alice.id: {} } });
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.id);
    server.put(&path, &bob.token, ignored).await.ok();
    let event = say(&server, &bob, &room, "hello").await;
    let body = with(with(list(0, 9, 1), "typing", json!({})), "receipts", json!({}));
    let (first, before) = (sliding(&server, &bob, None, body.clone()).await, sync(&server, &bob, None, "").await);
    for user in [&alice, &carol] {
        let typing = json!({ "typing": true, "timeout": 30_000 });
        server.put(&room_path(&room, &format!("typing/{}", user.id)), &user.token, typing).await.ok();
        server.post(&room_path(&room, &format!("receipt/m.read/{event}")), &user.token, json!({})).await.ok();
    }
    let second = sliding(&server, &bob, Some(pos(&first)), body.clone()).await;
    let extension = |name: &str| second["extensions"][name]["rooms"][&room]["content"].clone();
    let third = sync(&server, &bob, Some(next_batch(&before)), "").await;
    let ephemeral = &third["rooms"]["join"][&room]["ephemeral"];
    let v3 = |name: &str| crate::client::event(ephemeral, name).expect("an event")["content"].clone();
    for (typing, receipts) in [(extension("typing"), extension("receipts")), (v3("m.typing"), v3("m.receipt"))] {
        assert_eq!(typing["user_ids"], json!([&carol.id]));
        let readers: Vec<&String> = receipts[&event]["m.read"].as_object().expect("readers").keys().collect();
        assert_eq!(readers, [&carol.id]);
    }
    let whole = sliding(&server, &bob, None, body).await;
    assert_eq!(whole["extensions"]["typing"]["rooms"][&room]["content"]["user_ids"], json!([&carol.id]));
}
