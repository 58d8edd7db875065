//! `GET /sync`.

mod replay;

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, join, next_batch, public_room, room_path, say, sync, two_in_a_room};

#[tokio::test]
async fn a_message_reaches_a_waiting_client() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let first = sync(&server, &bob, None, "").await;
        let waiting = format!("{CLIENT}/sync?timeout=60000&since={}", next_batch(&first));
        let (answer, sent) = tokio::join!(server.get(&waiting, &bob.token), say(&server, &alice, &room, "hello"));
        let timeline = &answer.ok()["rooms"]["join"][&room]["timeline"];
        assert_eq!(timeline["events"][0]["event_id"], sent.as_str());
        assert_eq!(timeline["events"][0]["content"]["body"], "hello");
        assert_eq!(timeline["limited"], false);
    }
}

#[tokio::test]
async fn tokens_are_good_after_a_restart() {
    for mut server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let first = sync(&server, &bob, None, "").await;
        say(&server, &alice, &room, "before").await;
        server.restart().await;
        let second = sync(&server, &bob, Some(next_batch(&first)), "").await;
        assert_eq!(second["rooms"]["join"][&room]["timeline"]["events"][0]["content"]["body"], "before");
        assert_eq!(second["rooms"]["join"][&room]["unread_notifications"]["notification_count"], 1);
        let third = sync(&server, &bob, Some(next_batch(&second)), "").await;
        assert!(third["rooms"].is_null(), "{third}");
    }
}

#[tokio::test]
async fn the_previous_batch_leads_into_the_history() {
    let server = TestServer::sqlite().await;
    let (alice, bob, room) = two_in_a_room(&server).await;
    for number in 0..12 {
        say(&server, &alice, &room, &format!("message {number}")).await;
    }
    let filter = "&filter={%22room%22:{%22timeline%22:{%22limit%22:2}}}";
    let answer = sync(&server, &bob, None, filter).await;
    let timeline = &answer["rooms"]["join"][&room]["timeline"];
    assert_eq!(timeline["events"][0]["content"]["body"], "message 10");
    assert_eq!(timeline["limited"], true);
    let from = timeline["prev_batch"].as_str().expect("a token");
    let path = format!("{CLIENT}/rooms/{room}/messages?dir=b&limit=1&from={from}");
    let page = server.get(&path, &bob.token).await;
    assert_eq!(page.ok()["chunk"][0]["content"]["body"], "message 9");
}

#[tokio::test]
async fn events_carry_the_readers_membership_when_they_were_sent() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        say(&server, &alice, &room, "before").await;
        server.post(&room_path(&room, "invite"), &alice.token, json!({ "user_id": bob.id })).await.ok();
        say(&server, &alice, &room, "invited").await;
        join(&server, &bob, &room).await;
        say(&server, &alice, &room, "joined").await;
        let answer = sync(&server, &bob, None, "").await;
        let events = answer["rooms"]["join"][&room]["timeline"]["events"].as_array().unwrap();
        let messages = events.iter().filter(|event| event["type"] == "m.room.message");
        let found: Vec<_> = messages.map(|it| [&it["content"]["body"], &it["unsigned"]["membership"]]).collect();
        assert_eq!(json!(found), json!([["before", "leave"], ["invited", "invite"], ["joined", "join"]]));
    }
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    for parameters in ["since=nonsense", "filter=77", "filter={", "timeout=soon", "set_presence=bored", "full_state=3"]
    {
        let answer = server.get(&format!("{CLIENT}/sync?{parameters}"), &alice.token).await;
        assert_eq!(answer.refusal(), (400, "M_INVALID_PARAM"), "{parameters}");
    }
    let without_token = server.request(http::Method::GET, &format!("{CLIENT}/sync"), None, None).await;
    assert_eq!(without_token.refusal(), (401, "M_MISSING_TOKEN"));
}
