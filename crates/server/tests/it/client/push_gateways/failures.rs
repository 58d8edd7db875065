//! Push gateways that fail or hang.

use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::server::TestServer;
use plexus_testkit::{GatewayConduct, PushGateway, every, places, within};
use serde_json::json;

use super::{PATIENCE, next_in_time, pass, pusher, read, set, stage};
use crate::client::{CLIENT, join, room_path, say, state};

/// Waits for so many requests, while time passes.
async fn tried_in_time(gateway: &PushGateway, clock: &Clock, requests: usize) {
    tokio::select! {
        () = gateway.requested(requests) => {}
        () = pass(clock, Duration::from_secs(1)) => unreachable!("it has no end"),
    }
}

#[tokio::test]
async fn what_was_read_or_redacted_meanwhile_is_not_pushed_and_the_order_is_kept() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, bob, room, gateway) = stage(&server).await;
        gateway.conduct(GatewayConduct::Respond(502));
        let mut events = Vec::new();
        for text in ["one", "two", "three", "four", "five"] {
            events.push(say(&server, &alice, &room, text).await);
        }
        gateway.requested(1).await;
        read(&server, &bob, &room, &events[1]).await;
        server.put(&room_path(&room, &format!("redact/{}/1", events[3])), &alice.token, json!({})).await.ok();
        gateway.conduct(GatewayConduct::Accept);
        let pushed = async {
            let mut looks = every(Duration::from_millis(50));
            while gateway.requests() < 3 {
                looks.tick().await;
                clock.advance(Duration::from_secs(1));
            }
        };
        within(PATIENCE, pushed).await.expect("it is tried again");
        assert_eq!(gateway.next().await["event_id"], events[2].as_str());
        assert_eq!(gateway.next().await["event_id"], events[4].as_str());
    }
}

#[tokio::test]
async fn notifications_are_tried_for_hours_and_survive_a_restart() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let mut server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, _bob, room, gateway) = stage(&server).await;
        gateway.conduct(GatewayConduct::Respond(500));
        let first = say(&server, &alice, &room, "one").await;
        gateway.requested(1).await;
        let tried = async {
            let mut looks = every(Duration::from_millis(20));
            while gateway.requests() < 4 {
                looks.tick().await;
                clock.advance(Duration::from_secs(2));
            }
        };
        within(PATIENCE, tried).await.expect("it is tried again");
        server.restart().await;
        let second = say(&server, &alice, &room, "two").await;
        gateway.conduct(GatewayConduct::Accept);
        let both = async { (gateway.next().await, gateway.next().await) };
        let hours = pass(&clock, Duration::from_secs(60));
        let (one, two) = tokio::select! { both = both => both, () = hours => unreachable!("it has no end") };
        assert_eq!((&one["event_id"], &two["event_id"]), (&json!(first), &json!(second)));
        // What has waited for a day is not pushed any more.
        gateway.conduct(GatewayConduct::Respond(500));
        let before = gateway.requests();
        say(&server, &alice, &room, "stale").await;
        tried_in_time(&gateway, &clock, before + 2).await;
        clock.advance(Duration::from_secs(25 * 3_600));
        gateway.conduct(GatewayConduct::Accept);
        let fresh = say(&server, &alice, &room, "fresh").await;
        let next = next_in_time(&gateway, &clock, Duration::from_secs(60)).await;
        assert_eq!(next["event_id"], fresh.as_str());
    }
}

#[tokio::test]
async fn a_gateway_that_hangs_delays_no_other() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, hanging) = stage(&server).await;
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        for number in 0..499 {
            set(&server, &bob, pusher(&hanging, &format!("key{number}"))).await;
        }
        let one_more = server.post(&format!("{CLIENT}/pushers/set"), &bob.token, pusher(&hanging, "one more")).await;
        assert_eq!(one_more.refusal(), (413, "M_TOO_LARGE"));
        hanging.conduct(GatewayConduct::Hang);
        let gateway = PushGateway::start().await;
        set(&server, &carol, pusher(&gateway, "carols")).await;
        for text in ["one", "two"] {
            let event = say(&server, &alice, &room, text).await;
            let notification = within(Duration::from_secs(20), gateway.next()).await.expect("nothing delays it");
            assert_eq!(notification["event_id"], event.as_str());
        }
        assert!(hanging.requests() < 500, "one gateway gets only some connections");
        hanging.conduct(GatewayConduct::Accept);
        for _ in 0..1_000 {
            hanging.next().await;
        }
    }
}

#[tokio::test]
async fn a_change_of_the_profile_drops_nothing_that_waits() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, bob, room, gateway) = stage(&server).await;
        gateway.conduct(GatewayConduct::Respond(502));
        let event = say(&server, &alice, &room, "one").await;
        gateway.requested(1).await;
        let name = format!("{CLIENT}/profile/{}/displayname", bob.id);
        server.put(&name, &bob.token, json!({ "displayname": "Bobby" })).await.ok();
        // Until the change is in the room, nothing follows the event there.
        let mut looks = every(Duration::from_millis(20));
        let member = format!("m.room.member/{}", bob.id);
        while state(&server, &alice, &room, &member).await.body["displayname"] != "Bobby" {
            looks.tick().await;
        }
        gateway.conduct(GatewayConduct::Accept);
        let next = next_in_time(&gateway, &clock, Duration::from_secs(1)).await;
        assert_eq!(next["event_id"], event.as_str());
    }
}

#[tokio::test]
async fn a_corrected_address_is_tried_at_once() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, bob, room, broken) = stage(&server).await;
        broken.conduct(GatewayConduct::Respond(500));
        let event = say(&server, &alice, &room, "one").await;
        broken.requested(1).await;
        clock.advance(Duration::from_millis(1));
        // No more time passes: the pause after the failure does not end.
        let gateway = PushGateway::start().await;
        set(&server, &bob, pusher(&gateway, "bobs")).await;
        assert_eq!(gateway.next().await["event_id"], event.as_str());
    }
}

#[tokio::test]
async fn what_was_read_while_the_gateway_failed_changes_the_badge() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, bob, room, gateway) = stage(&server).await;
        say(&server, &alice, &room, "one").await;
        assert_eq!(gateway.next().await["counts"]["unread"], 1);
        gateway.conduct(GatewayConduct::Respond(500));
        let event = say(&server, &alice, &room, "two").await;
        gateway.requested(2).await;
        read(&server, &bob, &room, &event).await;
        tried_in_time(&gateway, &clock, 4).await;
        gateway.conduct(GatewayConduct::Accept);
        let badge = next_in_time(&gateway, &clock, Duration::from_secs(1)).await;
        assert_eq!((&badge["id"], &badge["counts"]["unread"]), (&json!(""), &json!(0)));
    }
}

#[tokio::test]
async fn what_a_gateway_refuses_for_a_day_is_given_up() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, _bob, room, gateway) = stage(&server).await;
        gateway.conduct(GatewayConduct::Respond(413));
        let refused = say(&server, &alice, &room, "one").await;
        // Each attempt is two requests: the second one is without content.
        tried_in_time(&gateway, &clock, 3).await;
        clock.advance(Duration::from_secs(23 * 3_600));
        let next = say(&server, &alice, &room, "two").await;
        clock.advance(Duration::from_secs(2 * 3_600));
        gateway.conduct(GatewayConduct::Accept);
        // The second is younger than a day.
        let mut accepted = next_in_time(&gateway, &clock, Duration::from_secs(1)).await;
        if accepted["id"] == "" {
            // The first was given up before the second was there.
            accepted = next_in_time(&gateway, &clock, Duration::from_secs(1)).await;
        }
        assert_eq!(accepted["event_id"], next.as_str(), "{refused} is given up");
    }
}

#[tokio::test]
async fn a_message_that_the_gateway_refuses_stops_no_other() {
    for place in places() {
        // No time passes.
        let server = TestServer::on(place).clock(Clock::manual(1_700_000_000_000)).start().await;
        let (alice, _bob, room, gateway) = stage(&server).await;
        for status in [400, 413, 422] {
            gateway.conduct(GatewayConduct::RefuseContent(status));
            let refused = say(&server, &alice, &room, "what no gateway likes").await;
            let notification = gateway.next().await;
            assert_eq!((&notification["event_id"], notification.get("type")), (&json!(refused), None));
            gateway.conduct(GatewayConduct::Accept);
            let next = say(&server, &alice, &room, "something else").await;
            let notification = gateway.next().await;
            assert_eq!((&notification["event_id"], &notification["type"]), (&json!(next), &json!("m.room.message")));
        }
    }
}

#[tokio::test]
async fn one_user_with_many_gateways_that_hang_delays_no_other() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, _) = stage(&server).await;
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        let mut hanging = Vec::new();
        for number in 0..100 {
            let gateway = PushGateway::start().await;
            gateway.conduct(GatewayConduct::Hang);
            set(&server, &bob, pusher(&gateway, &format!("key{number}"))).await;
            hanging.push(gateway);
        }
        let gateway = PushGateway::start().await;
        set(&server, &carol, pusher(&gateway, "carols")).await;
        for text in ["one", "two"] {
            let event = say(&server, &alice, &room, text).await;
            let notification = within(Duration::from_secs(20), gateway.next()).await.expect("nothing delays it");
            assert_eq!(notification["event_id"], event.as_str());
        }
        let contacted = hanging.iter().filter(|gateway| gateway.requests() > 0).count();
        assert!(contacted < 50, "one user gets only some connections, not {contacted}");
    }
}

#[tokio::test]
async fn the_scheme_belongs_to_a_gateway() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        // Nothing speaks TLS there.
        let mut broken = pusher(&gateway, "broken");
        broken["data"]["url"] = json!(gateway.url().replace("http://", "https://"));
        set(&server, &carol, broken).await;
        set(&server, &bob, pusher(&gateway, "second")).await;
        for text in ["one", "two", "three"] {
            let event = say(&server, &alice, &room, text).await;
            for _ in 0..2 {
                let notification = within(Duration::from_secs(10), gateway.next()).await.expect("it is not failing");
                assert_eq!(notification["event_id"], event.as_str());
            }
        }
    }
}
