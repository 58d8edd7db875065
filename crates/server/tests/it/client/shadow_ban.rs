//! Shadow-banned users: what they write seems to be sent, and reaches nobody.

use std::time::Duration;

use plexus_base::Clock;
use plexus_store::repo::users;
use plexus_testkit::places;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, bodies, create, event, join, next_batch, public_room, room_path, say, send, state, sync};
use crate::client::{on_each_with, two_in_a_room};

/// Shadow-bans the user while the server is stopped.
async fn shadow_ban(server: &mut TestServer, user: &TestUser) {
    let (database, id) = (server.open_database().await, user.id.clone());
    assert!(database.write(move |tx| users::set_shadow_banned(tx, &id, true)).await.unwrap());
    database.close().await;
    server.restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_state_and_redactions_reach_nobody() {
    for mut server in on_each_with("experimental_features: {msc3912_enabled: true}").await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let before = say(&server, &bob, &room, "before").await;
        shadow_ban(&mut server, &bob).await;
        let since = sync(&server, &alice, None, "").await;
        let sent = say(&server, &bob, &room, "withheld").await;
        assert_eq!(sent.len(), 44, "it looks like the id of an event: {sent}");
        assert_ne!(say(&server, &bob, &room, "withheld").await, sent);
        let topic = server.put(&room_path(&room, "state/org.example.a"), &bob.token, json!({ "a": 1 })).await;
        assert!(topic.ok()["event_id"].is_string());
        let redaction = json!({ "org.matrix.msc3912.with_relations": ["*"] });
        server.put(&room_path(&room, &format!("redact/{before}/1")), &bob.token, redaction).await.ok();
        say(&server, &alice, &room, "after").await;
        let news = sync(&server, &alice, Some(next_batch(&since)), "").await;
        let timeline = &news["rooms"]["join"][&room]["timeline"]["events"];
        assert_eq!(bodies(timeline), ["after"]);
        assert_eq!(timeline.as_array().map(Vec::len), Some(1), "{timeline}");
        assert_eq!(state(&server, &alice, &room, "org.example.a").await.refusal(), (404, "M_NOT_FOUND"));
        let event = server.get(&room_path(&room, &format!("event/{sent}")), &bob.token).await;
        assert_eq!(event.refusal(), (404, "M_NOT_FOUND"));
        // In rooms of which the user is no member, too: the user learns nothing.
        let other = create(&server, &alice, json!({})).await;
        send(&server, &bob, &other, "m.room.message", json!({ "body": "a" })).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_and_typing_reach_nobody() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let carol = server.register("carol").await;
        shadow_ban(&mut server, &bob).await;
        server.post(&room_path(&room, "invite"), &bob.token, json!({ "user_id": carol.id })).await.ok();
        let member = room_path(&room, &format!("state/m.room.member/{}", carol.id));
        server.put(&member, &bob.token, json!({ "membership": "invite" })).await.ok();
        create(&server, &bob, json!({ "invite": [carol.id] })).await;
        let path = format!("{CLIENT}/rooms/{room}/typing/{}", bob.id);
        server.put(&path, &bob.token, json!({ "typing": true })).await.ok();
        let whole = sync(&server, &carol, None, "").await;
        assert_eq!(whole["rooms"]["invite"], Value::Null);
        let whole = sync(&server, &alice, None, "").await;
        assert_eq!(event(&whole["rooms"]["join"][&room]["ephemeral"], "m.typing"), None);
        let upgraded = server.post(&room_path(&room, "upgrade"), &bob.token, json!({ "new_version": "11" })).await;
        assert!(upgraded.ok()["replacement_room"].is_string());
        assert_eq!(state(&server, &alice, &room, "m.room.tombstone").await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_change_but_not_names_in_rooms() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        shadow_ban(&mut server, &bob).await;
        let profile = format!("{CLIENT}/profile/{}/displayname", bob.id);
        server.put(&profile, &bob.token, json!({ "displayname": "Insult" })).await.ok();
        assert_eq!(server.get(&profile, &bob.token).await.ok()["displayname"], "Insult");
        let member = format!("m.room.member/{}", bob.id);
        assert_eq!(state(&server, &alice, &room, &member).await.ok()["displayname"], "bob");
        let path = room_path(&room, &format!("state/{member}"));
        let content = json!({ "membership": "join", "displayname": "Other" });
        server.put(&path, &bob.token, content).await.ok();
        assert_eq!(state(&server, &alice, &room, &member).await.ok()["displayname"], "Insult");
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        assert_eq!(state(&server, &alice, &room, &member).await.ok()["membership"], "leave");
        let other = public_room(&server, &alice).await;
        join(&server, &bob, &other).await;
        assert_eq!(state(&server, &alice, &other, &member).await.ok()["membership"], "join");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_events_seem_to_be_sent() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let config = "max_event_delay_duration: 1h";
        let mut server = TestServer::on(place).clock(clock.clone()).config(config).start().await;
        let (alice, bob, room) = two_in_a_room(&server).await;
        shadow_ban(&mut server, &bob).await;
        let body = json!({ "delay": 1000, "content": { "body": "withheld" } });
        let path = room_path(&room, "delayed_event/m.room.message/1");
        let delay_id = server.put(&path, &bob.token, body).await.ok()["delay_id"].as_str().unwrap().to_owned();
        let path = format!("/_matrix/client/v1/delayed_events/{delay_id}");
        let mut ticks = plexus_testkit::every(Duration::from_millis(20));
        let finalised = async {
            loop {
                clock.advance(Duration::from_secs(1));
                let shown = server.get(&path, &bob.token).await.ok().clone();
                if shown.to_string().contains("event_id") {
                    return;
                }
                ticks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(30), finalised).await.expect("it seems to be sent");
        let whole = sync(&server, &alice, None, "").await;
        assert!(bodies(&whole["rooms"]["join"][&room]["timeline"]["events"]).is_empty());
    }
}
