//! EDUs, sent and received.

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_store::{Backend, DbError, Tx, first};
use plexus_testkit::{TestPlace, TestServer, TestUser};
use serde_json::{Value, json};

use super::away::{Away, CLIENT, say, synced};
use crate::client::keys::cross_signing;
use crate::client::with_password;

fn ephemeral<'a>(answer: &'a Value, room: &str, event_type: &str) -> Option<&'a Value> {
    let mut events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array()?.iter();
    events.find(|event| event["type"] == event_type).map(|event| &event["content"])
}

#[tokio::test]
async fn edus_of_local_users_are_sent_to_other_servers() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let typing = format!("{CLIENT}/rooms/{room}/typing/{}", alice.id);
        server.put(&typing, &alice.token, json!({ "typing": true, "timeout": 30_000 })).await.ok();
        let sent = away.edu("m.typing", |content| content["typing"] == true).await;
        assert_eq!(sent, json!({ "room_id": room, "user_id": alice.id, "typing": true }));
        server.put(&typing, &alice.token, json!({ "typing": false })).await.ok();
        away.edu("m.typing", |content| content["typing"] == false).await;

        let said = say(&server, &alice, &room, "hello").await;
        server.post(&format!("{CLIENT}/rooms/{room}/receipt/m.read/{said}"), &alice.token, json!({})).await.ok();
        let read = away.edu("m.receipt", |_| true).await;
        let read = &read[&room]["m.read"][&alice.id];
        assert_eq!(read["event_ids"], json!([said]));
        assert!(read["data"]["ts"].is_u64());

        let status = json!({ "presence": "online", "status_msg": "here" });
        server.put(&format!("{CLIENT}/presence/{}/status", alice.id), &alice.token, status).await.ok();
        let mine = |content: &Value| content["push"].as_array().unwrap().iter().any(|one| one["status_msg"] == "here");
        let presence = away.edu("m.presence", mine).await;
        assert_eq!(presence["push"][0]["user_id"], alice.id);

        let messages = json!({ "messages": { away.bob.as_str(): { "DEVICE": { "secret": 1 } } } });
        server.put(&format!("{CLIENT}/sendToDevice/m.test/1"), &alice.token, messages).await.ok();
        let message = away.edu("m.direct_to_device", |_| true).await;
        assert_eq!((&message["sender"], &message["type"]), (&json!(alice.id), &json!("m.test")));
        assert_eq!(message["messages"], json!({ away.bob.as_str(): { "DEVICE": { "secret": 1 } } }));
        assert!(message["message_id"].is_string());
    }
}

/// Keys of a user's device, of which `key` is one.
fn keys_of(user: &TestUser, key: &str) -> Value {
    let id = format!("ed25519:{}", user.device_id);
    json!({
        "user_id": user.id, "device_id": user.device_id, "algorithms": [],
        "keys": { id.as_str(): key }, "signatures": { user.id.as_str(): { id.as_str(): "signature" } },
    })
}

#[tokio::test]
async fn device_updates_are_sent_in_sequence() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        away.room(&server, &alice).await;
        let upload = async |user: &TestUser| {
            let body = json!({ "device_keys": keys_of(user, "key") });
            server.post(&format!("{CLIENT}/keys/upload"), &user.token, body).await.ok();
        };
        upload(&alice).await;
        let of = |device: &str| {
            let device = device.to_owned();
            move |content: &Value| content["device_id"] == device
        };
        let first = away.edu("m.device_list_update", of(&alice.device_id)).await;
        assert_eq!((&first["user_id"], &first["prev_id"]), (&json!(alice.id), &json!([])));
        assert_eq!(first["keys"]["keys"][format!("ed25519:{}", alice.device_id)], "key");
        assert!(first.get("device_display_name").is_none());
        let second = server.log_in("alice").await;
        upload(&second).await;
        let sent = away.edu("m.device_list_update", of(&second.device_id)).await;
        assert_eq!(sent["prev_id"], json!([first["stream_id"]]));
        server.request(Method::POST, &format!("{CLIENT}/logout"), Some(&second.token), Some(json!({}))).await.ok();
        let gone = away.edu("m.device_list_update", |content| content["deleted"] == true).await;
        assert_eq!((&gone["device_id"], gone.get("keys")), (&json!(second.device_id), None));
        assert_eq!(gone["prev_id"], json!([sent["stream_id"]]));
    }
}

#[tokio::test]
async fn the_same_device_changes_once_more_in_sequence_also_after_a_restart() {
    for place in plexus_testkit::places() {
        let mut server = TestServer::on(place).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        away.room(&server, &alice).await;
        let upload = async |server: &TestServer, key: &str| {
            let keys = keys_of(&alice, key);
            let path = format!("{CLIENT}/keys/upload");
            server.post(&path, &alice.token, json!({ "device_keys": keys })).await.ok();
            let id = format!("ed25519:{}", alice.device_id);
            away.edu("m.device_list_update", |content| content["keys"]["keys"][&id] == key).await
        };
        let first = upload(&server, "1").await;
        let second = upload(&server, "2").await;
        assert_eq!((&first["prev_id"], &second["prev_id"]), (&json!([]), &json!([first["stream_id"]])));
        server.restart().await;
        let third = upload(&server, "3").await;
        assert_eq!(third["prev_id"], json!([second["stream_id"]]));
    }
}

#[tokio::test]
async fn a_server_that_begins_to_share_a_room_is_sent_each_device() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let phone = server.log_in("alice").await;
        for device in [&alice, &phone] {
            let body = json!({ "device_keys": keys_of(device, &device.device_id) });
            server.post(&format!("{CLIENT}/keys/upload"), &device.token, body).await.ok();
        }
        let of = |user: &TestUser| {
            let (user, device) = (user.id.clone(), user.device_id.clone());
            move |content: &Value| content["user_id"] == user && content["device_id"] == device
        };
        // Bob comes into a room of Alice's.
        let room = away.room(&server, &alice).await;
        let first = away.edu("m.device_list_update", of(&alice)).await;
        let second = away.edu("m.device_list_update", of(&phone)).await;
        assert_eq!((&first["prev_id"], &second["prev_id"]), (&json!([]), &json!([first["stream_id"]])));
        assert_eq!(second["keys"]["keys"][format!("ed25519:{}", phone.device_id)], json!(phone.device_id));

        // Carol comes into a room in which Bob's server is.
        let carol = server.register("carol").await;
        let body = json!({ "device_keys": keys_of(&carol, "carol") });
        server.post(&format!("{CLIENT}/keys/upload"), &carol.token, body).await.ok();
        // Else the upload itself may still be handed out, to those in the room by then.
        say(&server, &alice, &room, "uploaded").await;
        away.until(|all| all.iter().any(|it| it.body.to_string().contains("uploaded"))).await;
        server.post(&format!("{CLIENT}/rooms/{room}/join"), &carol.token, json!({})).await.ok();
        away.edu("m.device_list_update", of(&carol)).await;

        // One that is in a room with her already is sent nothing more.
        let other = away.room(&server, &carol).await;
        say(&server, &carol, &other, "hello").await;
        let transactions = away.until(|all| all.iter().any(|it| it.body.to_string().contains("hello"))).await;
        let edus = transactions.iter().flat_map(|it| it.body["edus"].as_array().unwrap());
        let updates = edus.filter(|edu| edu["edu_type"] == "m.device_list_update");
        assert_eq!(updates.filter(|edu| of(&carol)(&edu["content"])).count(), 1);
    }
}

#[tokio::test]
async fn a_user_signing_key_is_sent_to_nobody_else() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let path = format!("{CLIENT}/keys/device_signing/upload");
        let master = cross_signing(&alice, "master", 1, None);
        server.post(&path, &alice.token, json!({ "master_key": master })).await.ok();
        away.edu("m.signing_key_update", |content| content["master_key"] == master).await;
        let before = away.until(|_| true).await.len();
        let now = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
        let key = json!({ "user_signing_key": cross_signing(&alice, "user_signing", 3, Some(1)) });
        let first = server.post(&path, &alice.token, key.clone()).await;
        assert_eq!(first.status, 401);
        server.post(&path, &alice.token, with_password(&alice, &first.body["session"], key)).await.ok();
        // Her own devices are.
        let mine = |answer: &Value| answer["device_lists"]["changed"] == json!([alice.id]);
        synced(&server, &alice, now.as_str().unwrap(), mine).await;
        say(&server, &alice, &room, "hello").await;
        let transactions = away.until(|all| all.iter().any(|it| it.body.to_string().contains("hello"))).await;
        let edus = transactions[before..].iter().flat_map(|it| it.body["edus"].as_array().unwrap());
        assert_eq!(edus.filter(|edu| edu["edu_type"] == "m.signing_key_update").count(), 0);
    }
}

#[tokio::test]
async fn edus_of_other_servers_are_shown_to_clients() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let said = say(&server, &alice, &room, "hello").await;
        let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
        let since = since.as_str().unwrap();
        let bob = away.bob.as_str();
        let message = json!({
            "edu_type": "m.direct_to_device",
            "content": { "sender": bob, "type": "m.test", "message_id": "1",
                         "messages": { alice.id.as_str(): { "*": { "secret": 1 } } } },
        });
        let read = json!({ "m.read": { bob: { "data": { "ts": 5 }, "event_ids": [said] } } });
        let elsewhere = "$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE";
        let no_thread = json!({ "ts": 5, "thread_id": "x".repeat(5_000) });
        let no_thread = json!({ "m.read": { bob: { "data": no_thread, "event_ids": [elsewhere] } } });
        let edus = vec![
            json!({ "edu_type": "m.receipt", "content": { room.as_str(): no_thread } }),
            json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": alice.id, "typing": true } }),
            json!({ "edu_type": "m.typing" }),
            json!("nonsense"),
            json!({ "edu_type": "m.unheard_of", "content": {} }),
            json!({ "edu_type": "m.typing", "content": { "room_id": room, "user_id": bob, "typing": true } }),
            json!({ "edu_type": "m.receipt", "content": { "!nowhere:x": { "m.read": 1 }, room.as_str(): read } }),
            json!({ "edu_type": "m.presence",
                    "content": { "push": [{}, { "user_id": bob, "presence": "online", "last_active_ago": 5 }] } }),
            message.clone(),
            message,
        ];
        away.send(&server, "edus", Vec::new(), edus).await.ok();
        let shown = synced(&server, &alice, since, |answer| {
            ephemeral(answer, &room, "m.typing").is_some() && answer["presence"]["events"].is_array()
        });
        let shown = shown.await;
        assert_eq!(ephemeral(&shown, &room, "m.typing").unwrap()["user_ids"], json!([bob]));
        assert_eq!(ephemeral(&shown, &room, "m.receipt").unwrap()[&said]["m.read"][bob]["ts"], 5);
        assert!(ephemeral(&shown, &room, "m.receipt").unwrap().get(elsewhere).is_none());
        assert_eq!(shown["to_device"]["events"].as_array().unwrap().len(), 1);
        assert_eq!(shown["to_device"]["events"][0]["content"], json!({ "secret": 1 }));
        let presence = server.get(&format!("{CLIENT}/presence/{bob}/status"), &alice.token).await;
        assert_eq!(presence.ok()["presence"], "online");
    }
}

/// Makes every insertion of a to-device message fail: because of the message, or because the disk is full.
fn refuse_messages(place: &TestPlace, disk_is_full: bool) {
    let code = if disk_is_full { "53100" } else { "23514" };
    let function = format!(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END$$"
    );
    match place.options().backend() {
        Backend::Postgres => place.run(&[
            &function,
            "CREATE TRIGGER refuse BEFORE INSERT ON to_device_messages FOR EACH ROW EXECUTE FUNCTION refuse()",
        ]),
        Backend::Sqlite => place.run(&[
            "CREATE TRIGGER refuse BEFORE INSERT ON to_device_messages BEGIN SELECT RAISE(ABORT, 'refused'); END",
        ]),
    }
}

#[tokio::test]
async fn edus_that_cannot_be_stored_are_not_acknowledged() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        away.room(&server, &alice).await;
        let message = |id: &str| {
            let messages = json!({ alice.id.as_str(): { alice.device_id.as_str(): { "text": id } } });
            let content = json!({ "sender": away.bob, "type": "m.x", "message_id": id, "messages": messages });
            vec![json!({ "edu_type": "m.direct_to_device", "content": content })]
        };
        let place = server.place();
        // SQLite has no trigger that fails as a full disk does.
        if place.options().backend() == Backend::Postgres {
            refuse_messages(place, true);
            assert_eq!(away.send(&server, "full", Vec::new(), message("kept")).await.status, 500);
            place.run(&["DROP TRIGGER refuse ON to_device_messages"]);
            away.send(&server, "full", Vec::new(), message("kept")).await.ok();
            let sync = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok().clone();
            assert_eq!(sync["to_device"]["events"][0]["content"]["text"], "kept", "{sync}");
        }
        // A message that is at fault itself holds up nothing.
        refuse_messages(place, false);
        away.send(&server, "faulty", Vec::new(), message("lost")).await.ok();
    }
}

#[tokio::test]
async fn messages_for_servers_that_do_not_exist_are_given_up() {
    for place in plexus_testkit::places() {
        let clock = Clock::manual(1_700_000_000_000);
        let mut server = TestServer::on(place).clock(clock.clone()).start().await;
        let alice = server.register("alice").await;
        let messages = json!({ "messages": { "@nobody:127.0.0.1:1": { "DEVICE": { "x": 1 } } } });
        server.put(&format!("{CLIENT}/sendToDevice/m.x/1"), &alice.token, messages).await.ok();
        let left = async |server: &mut TestServer| {
            let db = server.open_database().await;
            let count = |tx: &mut Tx<'_>| tx.query_one("SELECT COUNT(*) FROM federation_to_device", &[], first);
            let left: i64 = db.read::<_, DbError, _>(count).await.unwrap();
            db.close().await;
            left
        };
        let mut left_now = left(&mut server).await;
        assert_eq!(left_now, 1);
        for _ in 0..20 {
            server.restart().await;
            // Old messages are looked for while requests are answered.
            for _ in 0..10 {
                server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok();
                clock.advance(Duration::from_secs(86_400));
            }
            left_now = left(&mut server).await;
            if left_now == 0 {
                break;
            }
        }
        assert_eq!(left_now, 0);
    }
}
