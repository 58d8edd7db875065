//! Events on their way to other servers.

use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::TestServer;
use serde_json::json;

use super::away::{Away, CLIENT, Transaction, bodies, say};

/// Servers that fail are tried again after a second, and within one try once.
const IMPATIENT: &str = "federation: {destination_min_retry_interval: 1s, destination_max_retry_interval: 1s, \
                         destination_retry_multiplier: 1, max_short_retries: 0, max_long_retries: 0}";

#[tokio::test]
async fn events_arrive_once_and_in_order_also_after_a_failure() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let first = say(&server, &alice, &room, "1").await;
        assert_eq!(away.messages(1).await, ["1"]);
        let transactions = away.until(|_| true).await;
        let pdu = &transactions.last().unwrap().body["pdus"][0];
        assert_eq!((&pdu["sender"], &pdu["room_id"]), (&json!(alice.id), &json!(room)));
        assert!(pdu["signatures"]["test.example"].is_object() && pdu["hashes"]["sha256"].is_string(), "{pdu} {first}");

        away.fail(true);
        say(&server, &alice, &room, "2").await;
        away.until(|transactions| transactions.iter().any(|it| !it.taken)).await;
        away.fail(false);
        assert_eq!(away.messages(2).await, ["1", "2"]);
        let transactions = away.until(|_| true).await;
        let refused = transactions.iter().find(|it| !it.taken).unwrap();
        let taken = transactions.iter().rfind(|it| it.taken).unwrap();
        assert_eq!((&refused.id, &refused.body["pdus"]), (&taken.id, &taken.body["pdus"]));
        say(&server, &alice, &room, "3").await;
        assert_eq!(away.messages(3).await, ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_server_that_fails_catches_up_after_a_restart_and_holds_up_nobody() {
    for place in plexus_testkit::places() {
        let mut server = TestServer::on(place).config(IMPATIENT).start().await;
        let alice = server.register("alice").await;
        let (away, other) = (Away::start().await, Away::start().await);
        let room = away.room(&server, &alice).await;
        other.member(&server, &alice, &room, "join").await;
        away.fail(true);
        for number in 0..120 {
            say(&server, &alice, &room, &number.to_string()).await;
        }
        let all: Vec<String> = (0..120).map(|number| number.to_string()).collect();
        assert_eq!(other.messages(120).await, all);
        away.until(|transactions| transactions.iter().any(|it| !it.taken)).await;
        server.restart().await;
        away.fail(false);
        assert_eq!(away.messages(120).await, all);
        let transactions = away.until(|_| true).await;
        let sizes = transactions.iter().filter(|it| it.taken).map(|it| it.body["pdus"].as_array().unwrap().len());
        assert!(sizes.clone().all(|size| size <= 50), "{:?}", sizes.collect::<Vec<_>>());
        // Nothing comes twice.
        say(&server, &alice, &room, "last").await;
        let (here, there) = (away.messages(121).await, other.messages(121).await);
        assert_eq!((here.len(), there.len()), (121, 121));
    }
}

/// How many transactions were refused.
fn refused(transactions: &[Transaction]) -> usize {
    transactions.iter().filter(|it| !it.taken).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_for_seconds_gets_everything_within_seconds() {
    for place in plexus_testkit::places() {
        let clock = Clock::manual(1_800_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let room = away.room(&server, &alice).await;
        let moving = async || {
            let mut every = plexus_testkit::every(Duration::from_millis(20));
            loop {
                every.tick().await;
                clock.advance(Duration::from_millis(250));
            }
        };
        let began = clock.now_ms();
        away.fail(true);
        let event = say(&server, &alice, &room, "hello").await;
        let receipt = format!("{CLIENT}/rooms/{room}/receipt/m.read/{event}");
        server.post(&receipt, &alice.token, json!({})).await.ok();
        // The first try, and three more within four seconds.
        tokio::select! { _ = away.until(|them| refused(them) >= 4) => {}, () = moving() => {} }
        assert!(clock.now_ms() - began < 10_000, "{}", clock.now_ms() - began);
        away.fail(false);
        let all = async { (away.messages(1).await, away.edu("m.receipt", |it| it.get(&room).is_some()).await) };
        let (messages, read) = tokio::select! { all = all => all, () = moving() => unreachable!() };
        assert_eq!(messages, ["hello"]);
        assert_eq!(read[&room]["m.read"][&alice.id]["event_ids"], json!([event]));
        assert!(clock.now_ms() - began < 60_000, "{}", clock.now_ms() - began);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_talks_to_us_is_tried_at_once() {
    // Once while it is about to be tried again, once while it is left alone. No time passes.
    for long in [10, 0] {
        for place in plexus_testkit::places() {
            let settings = format!("federation: {{max_short_retries: 0, max_long_retries: {long}}}");
            let clock = Clock::manual(1_800_000_000_000);
            let server = TestServer::on(place).clock(clock.clone()).config(&settings).start().await;
            let (alice, away) = (server.register("alice").await, Away::start().await);
            let room = away.room(&server, &alice).await;
            away.fail(true);
            say(&server, &alice, &room, "hello").await;
            away.until(|them| refused(them) >= 1).await;
            away.fail(false);
            away.peer.get(&server, &format!("/_matrix/federation/v1/query/profile?user_id={}", alice.id)).await.ok();
            assert_eq!(away.messages(1).await, ["hello"]);
        }
    }
}

#[tokio::test]
async fn a_server_that_was_away_for_long_gets_the_newest_event_of_each_room() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(IMPATIENT).start().await;
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let (one, two) = (away.room(&server, &alice).await, away.room(&server, &alice).await);
        away.fail(true);
        for number in 0..210 {
            say(&server, &alice, &one, &number.to_string()).await;
        }
        say(&server, &alice, &two, "two").await;
        say(&server, &alice, &one, "one").await;
        away.until(|transactions| transactions.iter().any(|it| !it.taken)).await;
        away.fail(false);
        let transactions = away.until(|transactions| bodies(transactions).iter().any(|body| body == "one")).await;
        let arrived = bodies(&transactions);
        // How much it got before it failed for good depends on when it was tried.
        assert!(arrived.ends_with(&["two".to_owned(), "one".to_owned()]) && arrived.len() < 100, "{arrived:?}");
    }
}

#[tokio::test]
async fn a_server_gets_the_kick_of_its_user_and_then_nothing_more() {
    for server in TestServer::on_each().await {
        let (alice, away) = (server.register("alice").await, Away::start().await);
        let (left, kept) = (away.room(&server, &alice).await, away.room(&server, &alice).await);
        let kick = json!({ "user_id": away.bob, "reason": "out" });
        server.post(&format!("{CLIENT}/rooms/{left}/kick"), &alice.token, kick).await.ok();
        say(&server, &alice, &left, "secret").await;
        say(&server, &alice, &kept, "public").await;
        assert_eq!(away.messages(1).await, ["public"]);
        let transactions = away.until(|_| true).await;
        let pdus = transactions.iter().flat_map(|it| it.body["pdus"].as_array().unwrap());
        let members: Vec<_> = pdus.filter(|pdu| pdu["type"] == "m.room.member").collect();
        assert_eq!(members.len(), 1);
        assert_eq!(
            (&members[0]["state_key"], &members[0]["content"]["membership"]),
            (&json!(away.bob), &json!("leave"))
        );
    }
}

#[tokio::test]
async fn a_whitelist_keeps_events_from_others() {
    let away = Away::start().await;
    let whitelist = format!("federation_domain_whitelist: ['{}']", away.peer.name());
    for place in plexus_testkit::places() {
        let mut server = TestServer::on(place).config(&whitelist).start().await;
        let alice = server.register("alice").await;
        let room = away.room(&server, &alice).await;
        let other = Away::start().await;
        assert_eq!(other.send(&server, "1", Vec::new(), Vec::new()).await.refusal().0, 403);
        say(&server, &alice, &room, "hello").await;
        assert_eq!(away.messages(1).await, ["hello"]);
        server.stop().await;
    }
}
