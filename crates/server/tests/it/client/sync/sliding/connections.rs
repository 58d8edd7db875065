//! Connections: positions, repeated requests, restarts, waiting, and their end.

use plexus_base::Clock;
use plexus_testkit::places;
use plexus_testkit::server::TestServer;
use serde_json::json;

use super::{PATH, bodies, list, pos, request, sliding};
use crate::client::{public_room, say, two_in_a_room};

#[tokio::test]
async fn a_message_reaches_a_waiting_client() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let first = sliding(&server, &bob, None, list(0, 9, 5)).await;
        let path = format!("{PATH}?timeout=60000&pos={}", pos(&first));
        let waiting = server.post(&path, &bob.token, list(0, 9, 5));
        let (answer, _) = tokio::join!(waiting, say(&server, &alice, &room, "hello"));
        assert_eq!(bodies(&answer.ok()["rooms"][&room]), ["hello"]);
    }
}

#[tokio::test]
async fn positions_outlive_a_restart() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        say(&server, &alice, &room, "one").await;
        let first = sliding(&server, &bob, None, list(0, 9, 5)).await;
        say(&server, &alice, &room, "two").await;
        server.restart().await;
        let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 5)).await;
        assert_eq!(bodies(&second["rooms"][&room]), ["two"]);
        assert!(second["rooms"][&room]["initial"].is_null());
        // The response was lost: the client repeats its request.
        server.restart().await;
        let again = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 5)).await;
        assert_eq!(bodies(&again["rooms"][&room]), ["two"]);
        let third = sliding(&server, &bob, Some(pos(&again)), list(0, 9, 5)).await;
        assert_eq!(third["rooms"], json!({}));
    }
}

#[tokio::test]
async fn a_request_may_be_repeated_until_its_response_is_used() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let rooms = [public_room(&server, &alice).await, public_room(&server, &alice).await];
    let first = sliding(&server, &alice, None, list(0, 0, 1)).await;
    // The same position with other windows.
    for _ in 0..3 {
        let wider = sliding(&server, &alice, Some(pos(&first)), list(0, 1, 1)).await;
        assert_eq!(wider["rooms"][&rooms[0]]["initial"], true);
        assert!(wider["rooms"][&rooms[1]].is_null());
    }
    let second = sliding(&server, &alice, Some(pos(&first)), list(0, 1, 1)).await;
    let third = sliding(&server, &alice, Some(pos(&second)), list(0, 1, 5)).await;
    assert!(third["rooms"][&rooms[1]]["unstable_expanded_timeline"] == true);
    let gone = request(&server, &alice, Some(pos(&first)), list(0, 1, 1)).await;
    assert_eq!(gone.refusal(), (400, "M_UNKNOWN_POS"));
}

#[tokio::test]
async fn a_stale_request_does_not_end_the_connection() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let rooms = [public_room(&server, &alice).await, public_room(&server, &alice).await];
        let first = sliding(&server, &alice, None, list(0, 0, 1)).await;
        let path = format!("{PATH}?timeout=60000&pos={}", pos(&first));
        let stale = server.post(&path, &alice.token, list(0, 0, 1));
        let live = async {
            let second = sliding(&server, &alice, Some(pos(&first)), list(0, 1, 1)).await;
            let third = sliding(&server, &alice, Some(pos(&second)), list(0, 1, 1)).await;
            say(&server, &alice, &rooms[0], "hello").await;
            third
        };
        let (stale, third) = tokio::join!(stale, live);
        // Its client has gone on from the position.
        assert_eq!(stale.refusal(), (400, "M_UNKNOWN_POS"));
        let fourth = sliding(&server, &alice, Some(pos(&third)), list(0, 1, 1)).await;
        assert_eq!(bodies(&fourth["rooms"][&rooms[0]]), ["hello"]);
    }
}

#[tokio::test]
async fn a_late_copy_of_a_request_does_not_end_the_connection() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let rooms = [public_room(&server, &alice).await, public_room(&server, &alice).await];
        let first = sliding(&server, &alice, None, list(0, 0, 1)).await;
        let second = sliding(&server, &alice, Some(pos(&first)), list(0, 1, 1)).await;
        let third = sliding(&server, &alice, Some(pos(&second)), list(0, 1, 1)).await;
        assert_eq!((pos(&third), &third["rooms"]), (pos(&second), &json!({})));
        say(&server, &alice, &rooms[0], "hello").await;
        for _ in 0..2 {
            let late = request(&server, &alice, Some(pos(&first)), list(0, 1, 1)).await;
            assert_eq!(late.refusal(), (400, "M_UNKNOWN_POS"));
        }
        let fourth = sliding(&server, &alice, Some(pos(&third)), list(0, 1, 1)).await;
        assert_eq!(bodies(&fourth["rooms"][&rooms[0]]), ["hello"]);
    }
}

#[tokio::test]
async fn a_request_without_lists_loses_nothing() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let first = sliding(&server, &bob, None, list(0, 9, 5)).await;
        say(&server, &alice, &room, "hello").await;
        let second = sliding(&server, &bob, Some(pos(&first)), json!({})).await;
        assert_eq!(second["rooms"], json!({}));
        let third = sliding(&server, &bob, Some(pos(&second)), list(0, 9, 5)).await;
        assert_eq!(bodies(&third["rooms"][&room]), ["hello"]);
    }
}

#[tokio::test]
async fn connections_do_not_know_of_each_other() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    let named = |name: &str| {
        let mut body = list(0, 9, 1);
        body["conn_id"] = json!(name);
        body
    };
    let main = sliding(&server, &bob, None, named("main")).await;
    let other = sliding(&server, &bob, None, named("other")).await;
    assert_eq!(other["rooms"][&room]["initial"], true);
    // A position belongs to a connection of a device.
    for (user, name) in [(&bob, "other"), (&alice, "main")] {
        let foreign = request(&server, user, Some(pos(&main)), named(name)).await;
        assert_eq!(foreign.refusal(), (400, "M_UNKNOWN_POS"));
    }
    for text in ["nonsense", "1_1_1", "s1_2_3", "7fffffffffffffff_1_1", "0_99999999999_1", "-1_0_0"] {
        let unknown = request(&server, &bob, Some(text), named("main")).await;
        assert_eq!(unknown.refusal(), (400, "M_UNKNOWN_POS"), "{text}");
    }
    let second = sliding(&server, &bob, Some(pos(&main)), named("main")).await;
    assert_eq!(second["rooms"], json!({}));
}

#[tokio::test]
async fn unused_connections_and_too_many_of_them_end() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let alice = server.register("alice").await;
        public_room(&server, &alice).await;
        let named = |number: usize| {
            let mut body = list(0, 9, 1);
            body["conn_id"] = json!(number.to_string());
            body
        };
        let mut firsts = Vec::new();
        for number in 0..17 {
            firsts.push(sliding(&server, &alice, None, named(number)).await);
            clock.advance(std::time::Duration::from_secs(1));
        }
        let ended = request(&server, &alice, Some(pos(&firsts[0])), named(0)).await;
        assert_eq!(ended.refusal(), (400, "M_UNKNOWN_POS"));
        clock.advance(std::time::Duration::from_secs(6 * 24 * 3600));
        sliding(&server, &alice, Some(pos(&firsts[5])), named(5)).await;
        clock.advance(std::time::Duration::from_secs(2 * 24 * 3600));
        sliding(&server, &alice, Some(pos(&firsts[5])), named(5)).await;
        let ended = request(&server, &alice, Some(pos(&firsts[6])), named(6)).await;
        assert_eq!(ended.refusal(), (400, "M_UNKNOWN_POS"));
    }
}

#[tokio::test]
async fn positions_without_rooms_belong_to_a_connection_too() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let first = sliding(&server, &alice, None, json!({})).await;
        sliding(&server, &alice, Some(pos(&first)), json!({})).await;
        let other_device = server.log_in("alice").await;
        for (user, body) in [(&bob, json!({})), (&other_device, json!({})), (&alice, json!({ "conn_id": "other" }))] {
            let foreign = request(&server, user, Some(pos(&first)), body).await;
            assert_eq!(foreign.refusal(), (400, "M_UNKNOWN_POS"));
        }
    }
}

/// The stored state that a position names.
fn stored_state(response: &serde_json::Value) -> &str {
    pos(response).split(['.', '_']).next().expect("a state")
}

#[tokio::test]
async fn a_new_speaker_costs_no_write() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let carol = server.register("carol").await;
        crate::client::join(&server, &carol, &room).await;
        let members = |response: &serde_json::Value| -> Vec<String> {
            super::required(&response["rooms"][&room]).into_iter().map(|(_, key)| key.to_owned()).collect()
        };
        say(&server, &bob, &room, "first").await;
        let first = sliding(&server, &bob, None, list(0, 9, 1)).await;
        say(&server, &carol, &room, "second").await;
        let second = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 1)).await;
        assert_eq!(members(&second), [carol.id.as_str()]);
        // The response was lost.
        let again = sliding(&server, &bob, Some(pos(&first)), list(0, 9, 1)).await;
        assert_eq!(members(&again), [carol.id.as_str()]);
        say(&server, &alice, &room, "third").await;
        let third = sliding(&server, &bob, Some(pos(&again)), list(0, 9, 1)).await;
        assert_eq!(members(&third), [alice.id.as_str()]);
        assert_eq!(stored_state(&first), stored_state(&third));
        say(&server, &carol, &room, "fourth").await;
        let fourth = sliding(&server, &bob, Some(pos(&third)), list(0, 9, 1)).await;
        assert!(members(&fourth).is_empty() && bodies(&fourth["rooms"][&room]) == ["fourth"]);
        // A restart forgets the members, and nothing else.
        server.restart().await;
        say(&server, &carol, &room, "fifth").await;
        let fifth = sliding(&server, &bob, Some(pos(&fourth)), list(0, 9, 1)).await;
        assert_eq!(members(&fifth), [carol.id.as_str()]);
        assert_eq!(bodies(&fifth["rooms"][&room]), ["fifth"]);
        let sixth = sliding(&server, &bob, Some(pos(&fifth)), list(0, 9, 1)).await;
        assert_eq!(sixth["rooms"], json!({}));
    }
}
