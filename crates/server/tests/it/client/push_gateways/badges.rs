//! What badges count.

use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::server::TestServer;
use plexus_testkit::{GatewayConduct, PushGateway, every, places, within};
use serde_json::{Value, json};

use super::{PATIENCE, pusher, read, set, stage};
use crate::client::{CLIENT, create, join, on_each_with, room_path, say, state};

const START_MS: u64 = 1_700_000_000_000;
/// Badges are numbers of messages.
const MESSAGES: &str = "push: {group_unread_count_by_room: false}\n";

fn unread(notification: &Value) -> &Value {
    &notification["counts"]["unread"]
}

#[tokio::test]
async fn nothing_from_before_the_present_stay_is_counted() {
    for mut server in on_each_with(MESSAGES).await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let first = say(&server, &alice, &room, "read").await;
        assert_eq!(unread(&gateway.next().await), 1);
        read(&server, &bob, &room, &first).await;
        assert_eq!(unread(&gateway.next().await), 0);
        say(&server, &alice, &room, "unread when bob left").await;
        assert_eq!(unread(&gateway.next().await), 1);
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        for text in ["one", "two", "three"] {
            say(&server, &alice, &room, text).await;
        }
        join(&server, &bob, &room).await;
        let event = say(&server, &alice, &room, "after bob came back").await;
        let next = gateway.next().await;
        assert_eq!((&next["event_id"], unread(&next)), (&json!(event), &json!(1)));
        // Another name is no other stay, also where nothing is in memory.
        let name = format!("{CLIENT}/profile/{}/displayname", bob.id);
        server.put(&name, &bob.token, json!({ "displayname": "Bobby" })).await.ok();
        let mut looks = every(Duration::from_millis(20));
        let member = format!("m.room.member/{}", bob.id);
        while state(&server, &alice, &room, &member).await.body["displayname"] != "Bobby" {
            looks.tick().await;
        }
        server.restart().await;
        say(&server, &alice, &room, "after the restart").await;
        assert_eq!(unread(&gateway.next().await), 2);
        let listed = server.get(&format!("{CLIENT}/notifications"), &bob.token).await;
        assert_eq!(listed.ok()["notifications"].as_array().expect("a list").len(), 2);
    }
}

#[tokio::test]
async fn messages_that_have_expired_are_not_counted() {
    for place in places() {
        let clock = Clock::manual(START_MS);
        let config = format!("{MESSAGES}enable_ephemeral_messages: true");
        let server = TestServer::on(place).clock(clock.clone()).config(&config).start().await;
        let (alice, _bob, room, gateway) = stage(&server).await;
        say(&server, &alice, &room, "stays").await;
        assert_eq!(unread(&gateway.next().await), 1);
        let content =
            json!({ "msgtype": "m.text", "body": "goes", "org.matrix.self_destruct_after": START_MS + 10_000 });
        server.put(&room_path(&room, "send/m.room.message/1"), &alice.token, content).await.ok();
        assert_eq!(unread(&gateway.next().await), 2);
        let badge = super::next_in_time(&gateway, &clock, Duration::from_secs(1)).await;
        assert_eq!((&badge["id"], unread(&badge)), (&json!(""), &json!(1)));
        // Nor by the next notification.
        let event = say(&server, &alice, &room, "comes").await;
        let next = gateway.next().await;
        assert_eq!((&next["event_id"], unread(&next)), (&json!(event), &json!(2)));
    }
}

#[tokio::test]
async fn many_redactions_change_a_badge_once() {
    for place in places() {
        let clock = Clock::manual(START_MS);
        let server = TestServer::on(place).clock(clock.clone()).config(MESSAGES).start().await;
        let (alice, _bob, room, gateway) = stage(&server).await;
        let mut events = Vec::new();
        for number in 1..=10 {
            events.push(say(&server, &alice, &room, "to be redacted").await);
            assert_eq!(unread(&gateway.next().await), number);
        }
        for (number, event) in events.iter().enumerate() {
            server.put(&room_path(&room, &format!("redact/{event}/{number}")), &alice.token, json!({})).await.ok();
        }
        let badge = super::next_in_time(&gateway, &clock, Duration::from_secs(1)).await;
        assert_eq!((&badge["id"], unread(&badge)), (&json!(""), &json!(0)));
        let event = say(&server, &alice, &room, "more").await;
        let next = gateway.next().await;
        assert_eq!((&next["event_id"], unread(&next), gateway.requests()), (&json!(event), &json!(1), 12));
    }
}

#[tokio::test]
async fn invites_that_the_user_does_not_learn_of_are_not_counted() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let mallory = server.register("mallory").await;
        let ignored = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", bob.id);
        let list = json!({ "ignored_users": { mallory.id.as_str(): {} } });
        server.put(&ignored, &bob.token, list).await.ok();
        create(&server, &mallory, json!({ "invite": [bob.id] })).await;
        let event = say(&server, &alice, &room, "one").await;
        let next = gateway.next().await;
        assert_eq!((&next["event_id"], unread(&next)), (&json!(event), &json!(1)));
        create(&server, &alice, json!({ "invite": [bob.id] })).await;
        assert_eq!(unread(&gateway.next().await), 2);
    }
}

#[tokio::test]
async fn after_a_restart_rooms_are_counted_as_before() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let mut rooms = Vec::new();
        for number in 0..8 {
            let other = create(&server, &alice, json!({ "preset": "public_chat" })).await;
            join(&server, &bob, &other).await;
            let event = say(&server, &alice, &other, "something").await;
            gateway.next().await;
            if number % 2 == 0 {
                read(&server, &bob, &other, &event).await;
                gateway.next().await;
            }
            rooms.push(other);
        }
        server.restart().await;
        say(&server, &alice, &room, "one more").await;
        assert_eq!(unread(&gateway.next().await), 5);
        say(&server, &alice, &rooms[0], "in a room that was read").await;
        assert_eq!(unread(&gateway.next().await), 6);
    }
}

#[tokio::test]
async fn what_was_accepted_before_a_failure_is_not_sent_again() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let slow = PushGateway::start().await;
        slow.conduct(GatewayConduct::Hang);
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        set(&server, &carol, pusher(&slow, "carols")).await;
        let mut said = Vec::new();
        for text in ["one", "two", "three"] {
            said.push(say(&server, &alice, &room, text).await);
            assert_eq!(gateway.next().await["event_id"], said[said.len() - 1].as_str());
        }
        slow.requested(1).await;
        server.restart().await;
        slow.conduct(GatewayConduct::Accept);
        let caught_up = async { while slow.next().await["event_id"] != said[2].as_str() {} };
        within(PATIENCE, caught_up).await.expect("it is sent what it missed");
        let last = say(&server, &alice, &room, "four").await;
        assert_eq!(gateway.next().await["event_id"], last.as_str(), "{} is sent nothing twice", bob.id);
    }
}
