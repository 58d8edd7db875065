//! What responses say of rooms.

use plexus_testkit::server::TestServer;
use serde_json::json;

use super::{bodies, list, pos, required, sliding};
use crate::client::{create, join, public_room, room_path, say, send, two_in_a_room};

#[tokio::test]
async fn a_room_comes_as_a_whole_first_and_then_by_what_is_new() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        for number in 0..5 {
            say(&server, &alice, &room, &format!("message {number}")).await;
        }
        let first = sliding(&server, &bob, None, list(0, 9, 2)).await;
        assert_eq!(first["lists"]["all"]["count"], 1);
        let found = &first["rooms"][&room];
        assert_eq!(found["initial"], true);
        assert_eq!(bodies(found), ["message 3", "message 4"]);
        assert_eq!((&found["limited"], &found["num_live"]), (&json!(true), &json!(0)));
        assert_eq!((&found["joined_count"], &found["invited_count"]), (&json!(2), &json!(0)));
        assert_eq!(found["notification_count"], 5);
        let members = [("m.room.member", alice.id.as_str()), ("m.room.member", bob.id.as_str())];
        assert_eq!(required(found), members);
        assert_eq!(found["heroes"][0]["user_id"], alice.id.as_str());
        assert!(found["bump_stamp"].as_i64().is_some_and(|stamp| stamp > 0));
        // The history goes on before the first event.
        let from = found["prev_batch"].as_str().expect("a token");
        let page = server.get(&room_path(&room, &format!("messages?dir=b&limit=1&from={from}")), &bob.token).await;
        assert_eq!(page.ok()["chunk"][0]["content"]["body"], "message 2");
        // A position is a token too.
        let newest = room_path(&room, &format!("messages?dir=b&limit=1&from={}", pos(&first)));
        let page = server.get(&newest, &bob.token).await;
        assert_eq!(page.ok()["chunk"][0]["content"]["body"], "message 4");

        let nothing = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 2)).await;
        assert_eq!(nothing["rooms"], json!({}));
        say(&server, &alice, &room, "new").await;
        let second = sliding(&server, &bob, Some(pos(&nothing)), list(0, 9, 2)).await;
        let found = &second["rooms"][&room];
        assert_eq!(bodies(found), ["new"]);
        assert_eq!((&found["limited"], &found["num_live"]), (&json!(false), &json!(1)));
        for absent in ["initial", "name", "heroes", "joined_count", "required_state", "is_dm"] {
            assert!(found[absent].is_null(), "{absent}: {found}");
        }
        for number in 0..3 {
            say(&server, &alice, &room, &format!("more {number}")).await;
        }
        let third = sliding(&server, &bob, Some(pos(&second)), list(0, 9, 2)).await;
        assert_eq!(bodies(&third["rooms"][&room]), ["more 1", "more 2"]);
        assert_eq!(third["rooms"][&room]["limited"], true);
    }
}

#[tokio::test]
async fn names_avatars_and_counts_follow_the_room() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let first = sliding(&server, &bob, None, list(0, 9, 0)).await;
    assert!(first["rooms"][&room]["name"].is_null() && first["rooms"][&room]["timeline"].is_null());
    let set = async |event_type: &str, content| {
        server.put(&room_path(&room, &format!("state/{event_type}")), &alice.token, content).await.ok().clone()
    };
    set("m.room.name", json!({ "name": "Tea" })).await;
    set("m.room.avatar", json!({ "url": "mxc://test.example/tea" })).await;
    let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 0)).await;
    let found = &second["rooms"][&room];
    assert_eq!((&found["name"], &found["avatar"]), (&json!("Tea"), &json!("mxc://test.example/tea")));
    assert!(found["heroes"].is_null() && found["initial"].is_null());
    assert_eq!(required(found), [("m.room.name", "")]);
    set("m.room.name", json!({ "name": "" })).await;
    set("m.room.avatar", json!({})).await;
    let third = sliding(&server, &bob, Some(pos(&second)), list(0, 9, 0)).await;
    let found = &third["rooms"][&room];
    assert!(found["name"].is_null() && found.get("name").is_some() && found.get("avatar").is_some(), "{found}");
    assert_eq!(found["heroes"][0]["user_id"], alice.id.as_str());
    let carol = server.register("carol").await;
    join(&server, &carol, &room).await;
    let fourth = sliding(&server, &bob, Some(pos(&third)), list(0, 9, 0)).await;
    assert_eq!(fourth["rooms"][&room]["joined_count"], 3);
    assert_eq!(fourth["rooms"][&room]["heroes"][1]["user_id"], carol.id.as_str());
}

#[tokio::test]
async fn a_longer_timeline_and_more_state_come_at_once() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        for number in 0..4 {
            say(&server, &alice, &room, &format!("message {number}")).await;
        }
        let first = sliding(&server, &bob, None, list(0, 9, 1)).await;
        assert_eq!(bodies(&first["rooms"][&room]), ["message 3"]);
        let mut body = list(0, 9, 1);
        let required_state = json!([["m.room.create", ""], ["m.room.join_rules", "*"]]);
        body["room_subscriptions"] = json!({ &room: { "timeline_limit": 3, "required_state": required_state } });
        let second = sliding(&server, &bob, Some(pos(&first)), body.clone()).await;
        let found = &second["rooms"][&room];
        assert_eq!(bodies(found), ["message 1", "message 2", "message 3"]);
        assert_eq!((&found["unstable_expanded_timeline"], &found["num_live"]), (&json!(true), &json!(0)));
        assert!(found["initial"].is_null());
        assert_eq!(required(found), [("m.room.create", ""), ("m.room.join_rules", "")]);
        let third = sliding(&server, &bob, Some(pos(&second)), body.clone()).await;
        assert_eq!(third["rooms"], json!({}));
        // Without the subscription, and with it again: the client still has it all.
        let fourth = sliding(&server, &bob, Some(pos(&third)), list(0, 9, 1)).await;
        let fifth = sliding(&server, &bob, Some(pos(&fourth)), body.clone()).await;
        assert_eq!((&fourth["rooms"], &fifth["rooms"]), (&json!({}), &json!({})));
        // What changed meanwhile is sent when it is wanted again.
        let rules = room_path(&room, "state/m.room.join_rules");
        let sixth = sliding(&server, &bob, Some(pos(&fifth)), list(0, 9, 1)).await;
        server.put(&rules, &alice.token, json!({ "join_rule": "invite" })).await.ok();
        let seventh = sliding(&server, &bob, Some(pos(&sixth)), list(0, 9, 1)).await;
        assert!(seventh["rooms"][&room]["required_state"].is_null(), "{seventh}");
        let eighth = sliding(&server, &bob, Some(pos(&seventh)), body).await;
        assert!(required(&eighth["rooms"][&room]).contains(&("m.room.join_rules", "")), "{eighth}");
    }
}

#[tokio::test]
async fn members_come_with_the_events_that_are_about_them() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let carol = server.register("carol").await;
    join(&server, &carol, &room).await;
    for user in [&alice, &carol, &bob] {
        say(&server, user, &room, "hello").await;
    }
    let body = json!({ "lists": { "all": {
        "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [["m.room.member", "$LAZY"], ["*", "*"]],
    } } });
    let first = sliding(&server, &bob, None, body.clone()).await;
    let members = |response: &serde_json::Value| -> Vec<String> {
        let state = required(&response["rooms"][&room]).into_iter();
        state.filter(|(event_type, _)| *event_type == "m.room.member").map(|(_, key)| key.to_owned()).collect()
    };
    assert_eq!(members(&first), [bob.id.as_str()]);
    assert!(required(&first["rooms"][&room]).contains(&("m.room.power_levels", "")));
    say(&server, &carol, &room, "again").await;
    let second = sliding(&server, &bob, Some(pos(&first)), body.clone()).await;
    assert_eq!(members(&second), [carol.id.as_str()]);
    say(&server, &carol, &room, "and again").await;
    let third = sliding(&server, &bob, Some(pos(&second)), body.clone()).await;
    assert!(members(&third).is_empty());
    let path = format!("/_matrix/client/v3/profile/{}/displayname", alice.id);
    server.put(&path, &alice.token, json!({ "displayname": "Al" })).await.ok();
    let fourth = sliding(&server, &bob, Some(pos(&third)), body).await;
    assert_eq!(members(&fourth), [alice.id.as_str()]);
}

#[tokio::test]
async fn invites_and_knocks_bring_stripped_state() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let first = sliding(&server, &bob, None, list(0, 9, 5)).await;
        let room = create(&server, &alice, json!({ "name": "Tea", "invite": [&bob.id] })).await;
        let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 5)).await;
        let found = &second["rooms"][&room];
        let state = found["invite_state"].as_array().expect("stripped state");
        assert!(state.iter().any(|event| event["content"]["name"] == "Tea"));
        let own = state.iter().find(|event| event["state_key"] == bob.id.as_str()).expect("the invite");
        assert_eq!(own["content"]["membership"], "invite");
        for absent in ["timeline", "required_state", "joined_count", "heroes", "name", "prev_batch"] {
            assert!(found[absent].is_null(), "{absent}");
        }
        join(&server, &bob, &room).await;
        let third = sliding(&server, &bob, Some(pos(&second)), list(0, 9, 5)).await;
        let found = &third["rooms"][&room];
        assert_eq!((&found["initial"], &found["name"]), (&json!(true), &json!("Tea")));
        assert!(found["num_live"].as_u64() >= Some(1));

        let knock = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
        let knocked = create(&server, &alice, json!({ "initial_state": [knock] })).await;
        server.post(&format!("/_matrix/client/v3/knock/{knocked}"), &bob.token, json!({})).await.ok();
        let fourth = sliding(&server, &bob, Some(pos(&third)), list(0, 9, 5)).await;
        assert!(fourth["rooms"][&knocked]["invite_state"].is_array(), "{fourth}");
        // The end of it.
        server.post(&room_path(&knocked, "leave"), &bob.token, json!({})).await.ok();
        let fifth = sliding(&server, &bob, Some(pos(&fourth)), list(0, 9, 5)).await;
        assert_eq!(fifth["rooms"][&knocked]["required_state"][0]["content"]["membership"], "leave");
        let sixth = sliding(&server, &bob, Some(pos(&fifth)), list(0, 9, 5)).await;
        assert_eq!((&sixth["rooms"], &sixth["lists"]["all"]["count"]), (&json!({}), &json!(1)));
    }
}

#[tokio::test]
async fn a_room_that_was_left_comes_once_up_to_the_leave() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let unseen = public_room(&server, &bob).await;
        server.post(&room_path(&unseen, "leave"), &bob.token, json!({})).await.ok();
        let first = sliding(&server, &bob, None, list(0, 9, 9)).await;
        assert!(first["rooms"][&unseen].is_null());
        say(&server, &alice, &room, "before").await;
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        say(&server, &alice, &room, "after").await;
        let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 9)).await;
        let found = &second["rooms"][&room];
        assert_eq!(bodies(found), ["before"]);
        let last = found["timeline"].as_array().and_then(|events| events.last()).expect("the leave");
        assert_eq!(last["content"]["membership"], "leave");
        let third = sliding(&server, &bob, Some(pos(&second)), list(0, 9, 9)).await;
        assert_eq!((&third["rooms"], &third["lists"]["all"]["count"]), (&json!({}), &json!(0)));
        join(&server, &bob, &room).await;
        let fourth = sliding(&server, &bob, Some(pos(&third)), list(0, 9, 9)).await;
        assert_eq!(fourth["rooms"][&room]["initial"], true);
    }
}

#[tokio::test]
async fn users_who_were_removed_see_the_room_up_to_then() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        say(&server, &alice, &room, "before").await;
        let reason = json!({ "user_id": &bob.id, "reason": "spam" });
        server.post(&room_path(&room, "ban"), &alice.token, reason).await.ok();
        say(&server, &alice, &room, "after").await;
        let name = room_path(&room, "state/m.room.name");
        server.put(&name, &alice.token, json!({ "name": "without Bob" })).await.ok();
        let first = sliding(&server, &bob, None, list(0, 9, 9)).await;
        assert_eq!(bodies(&first["rooms"][&room]), ["before"]);
        let members = [("m.room.member", alice.id.as_str()), ("m.room.member", bob.id.as_str())];
        assert_eq!(required(&first["rooms"][&room]), members);
        let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 9)).await;
        assert_eq!((&second["rooms"], &second["lists"]["all"]["count"]), (&json!({}), &json!(1)));
        // Somebody who was banned without having been in the room has no room.
        let carol = server.register("carol").await;
        server.post(&room_path(&room, "ban"), &alice.token, json!({ "user_id": &carol.id })).await.ok();
        let first = sliding(&server, &carol, None, list(0, 9, 9)).await;
        assert_eq!((&first["rooms"], &first["lists"]["all"]["count"]), (&json!({}), &json!(0)));
    }
}

#[tokio::test]
async fn what_a_user_may_not_see_is_not_sent() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
    let body = json!({ "preset": "public_chat", "initial_state": [visibility] });
    let room = create(&server, &alice, body).await;
    say(&server, &alice, &room, "secret").await;
    let (bob, dave) = (server.register("bob").await, server.register("dave").await);
    join(&server, &bob, &room).await;
    say(&server, &alice, &room, "for all").await;
    let ignored = json!({ "ignored_users": { &dave.id: {} } });
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.id);
    server.put(&path, &bob.token, ignored).await.ok();
    join(&server, &dave, &room).await;
    say(&server, &dave, &room, "ignored").await;
    create(&server, &dave, json!({ "invite": [&bob.id] })).await;
    let first = sliding(&server, &bob, None, list(0, 9, 20)).await;
    assert_eq!(bodies(&first["rooms"][&room]), ["for all"]);
    assert_eq!(first["lists"]["all"]["count"], 1);
    // A stranger's subscription shows nothing.
    let subscription = json!({ "timeline_limit": 5, "required_state": [["*", "*"]] });
    let body =
        json!({ "room_subscriptions": { &room: subscription, "!none:test.example": subscription, "x": subscription } });
    let erin = server.register("erin").await;
    assert_eq!(sliding(&server, &erin, None, body).await["rooms"], json!({}));
}

#[tokio::test]
async fn redactions_edits_and_transactions_are_shown_to_their_sender() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let first = sliding(&server, &alice, None, list(0, 9, 9)).await;
    let message = say(&server, &alice, &room, "first").await;
    let second = sliding(&server, &alice, Some(pos(&first)), list(0, 9, 9)).await;
    let event = &second["rooms"][&room]["timeline"][0];
    assert_eq!(event["event_id"], message.as_str());
    assert!(event["unsigned"]["transaction_id"].is_string() && event["room_id"].is_null());
    let edit = json!({
        "msgtype": "m.text", "body": "* edited", "m.new_content": { "msgtype": "m.text", "body": "edited" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": &message },
    });
    send(&server, &alice, &room, "m.room.message", edit).await.ok();
    let fresh = sliding(&server, &bob, None, list(0, 9, 9)).await;
    let timeline = fresh["rooms"][&room]["timeline"].as_array().expect("events");
    let original = timeline.iter().find(|event| event["event_id"] == message.as_str()).expect("the message");
    assert_eq!(original["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]["body"], "edited");
    assert!(original["unsigned"]["transaction_id"].is_null());
    server.put(&room_path(&room, &format!("redact/{message}/1")), &alice.token, json!({})).await.ok();
    let fresh = sliding(&server, &bob, None, list(0, 9, 9)).await;
    let timeline = fresh["rooms"][&room]["timeline"].as_array().expect("events");
    let original = timeline.iter().find(|event| event["event_id"] == message.as_str()).expect("the message");
    assert_eq!(original["content"], json!({}));
}

#[tokio::test]
async fn a_receipt_on_another_device_brings_the_counts() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let message = say(&server, &alice, &room, "hello").await;
    let first = sliding(&server, &bob, None, list(0, 9, 1)).await;
    assert_eq!(first["rooms"][&room]["notification_count"], 1);
    server.post(&room_path(&room, &format!("receipt/m.read/{message}")), &bob.token, json!({})).await.ok();
    let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 1)).await;
    let found = &second["rooms"][&room];
    assert_eq!((&found["notification_count"], &found["highlight_count"]), (&json!(0), &json!(0)));
    assert!(found["initial"].is_null() && bodies(found).is_empty());
}

#[tokio::test]
async fn a_room_from_which_a_user_was_kicked_is_shown_as_it_was() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        let set = async |event_type: &str, content| {
            server.put(&room_path(&room, &format!("state/{event_type}")), &alice.token, content).await.ok().clone()
        };
        set("m.room.avatar", json!({ "url": "mxc://test.example/tea" })).await;
        for number in 0..4 {
            say(&server, &alice, &room, &format!("message {number}")).await;
        }
        let known = sliding(&server, &bob, None, list(0, 9, 1)).await;
        set("m.room.name", json!({ "name": "Tea" })).await;
        server.post(&room_path(&room, "kick"), &alice.token, json!({ "user_id": &bob.id })).await.ok();
        set("m.room.name", json!({ "name": "without Bob" })).await;
        server.post(&room_path(&room, "leave"), &carol.token, json!({})).await.ok();
        let changed = sliding(&server, &bob, Some(pos(&known)), list(0, 9, 1)).await;
        let found = &changed["rooms"][&room];
        assert_eq!((&found["name"], &found["initial"]), (&json!("Tea"), &json!(null)));
        let first = sliding(&server, &bob, None, list(0, 9, 1)).await;
        let found = &first["rooms"][&room];
        assert_eq!((&found["name"], &found["avatar"]), (&json!("Tea"), &json!("mxc://test.example/tea")));
        assert_eq!((&found["joined_count"], &found["invited_count"]), (&json!(2), &json!(0)));
        assert!(found["heroes"].is_null());
        for (name, expected) in [("tea", json!([1])), ("without", json!([0]))] {
            let mut named = list(0, 9, 1);
            named["lists"]["all"]["filters"] = json!({ "room_name_like": name });
            let response = sliding(&server, &bob, None, named).await;
            assert_eq!(json!([response["lists"]["all"]["count"]]), expected, "{name}");
        }
        let first = sliding(&server, &bob, None, list(0, 9, 1)).await;
        // It expands as other rooms do.
        let mut body = list(0, 9, 5);
        body["lists"]["all"]["required_state"] = json!([["m.room.create", ""], ["m.room.name", ""]]);
        let second = sliding(&server, &bob, Some(pos(&first)), body.clone()).await;
        let found = &second["rooms"][&room];
        assert_eq!((&found["unstable_expanded_timeline"], &found["initial"]), (&json!(true), &json!(null)));
        assert_eq!(bodies(found), ["message 1", "message 2", "message 3"]);
        assert_eq!(required(found), [("m.room.create", "")]);
        let third = sliding(&server, &bob, Some(pos(&second)), body).await;
        assert_eq!(third["rooms"], json!({}));
    }
}

#[tokio::test]
async fn a_nameless_room_that_was_left_has_heroes() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    server.post(&room_path(&room, "ban"), &alice.token, json!({ "user_id": &bob.id })).await.ok();
    server.put(&room_path(&room, "state/m.room.name"), &alice.token, json!({ "name": "Tea" })).await.ok();
    let first = sliding(&server, &bob, None, list(0, 9, 0)).await;
    let found = &first["rooms"][&room];
    assert!(found["name"].is_null() && found["timeline"].is_null(), "{found}");
    assert_eq!(found["heroes"][0]["user_id"], alice.id.as_str());
}

#[tokio::test]
async fn a_declined_invite_has_no_timeline() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = create(&server, &alice, json!({ "invite": [&bob.id] })).await;
    let first = sliding(&server, &bob, None, list(0, 9, 5)).await;
    assert!(first["rooms"][&room]["invite_state"].is_array());
    server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
    let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 5)).await;
    let found = &second["rooms"][&room];
    assert!(found["timeline"].is_null() && found["invite_state"].is_null(), "{found}");
    assert_eq!(found["required_state"][0]["content"]["membership"], "leave");
}
