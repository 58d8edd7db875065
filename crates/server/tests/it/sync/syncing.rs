//! `GET /sync` and filters.

use plexus_testkit::server::TestServer;
use serde_json::json;

use super::{CLIENT, event, next_batch, say, sync, two_in_a_room};

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
async fn filters_are_stored_and_used_by_id() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        say(&server, &alice, &room, "hello").await;
        let path = format!("{CLIENT}/user/{}/filter", bob.id);
        let filter = json!({ "room": { "timeline": { "types": ["m.room.member"] } } });
        let created = server.post(&path, &bob.token, filter.clone()).await;
        let id = created.ok()["filter_id"].as_str().expect("an id").to_owned();
        assert_eq!(server.get(&format!("{path}/{id}"), &bob.token).await.ok(), &filter);
        let answer = sync(&server, &bob, None, &format!("&filter={id}")).await;
        assert!(event(&answer["rooms"]["join"][&room]["timeline"], "m.room.message").is_none());
        assert!(event(&answer["rooms"]["join"][&room]["timeline"], "m.room.member").is_some());

        assert_eq!(server.get(&format!("{path}/77"), &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(server.get(&format!("{path}/x"), &bob.token).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(server.get(&format!("{path}/{id}"), &alice.token).await.refusal(), (403, "M_FORBIDDEN"));
        let wrong = json!({ "room": { "timeline": { "limit": "many" } } });
        assert_eq!(server.post(&path, &bob.token, wrong).await.refusal(), (400, "M_BAD_JSON"));
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

#[tokio::test]
async fn the_device_is_sent_its_key_counts_and_messages() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let first = sync(&server, &bob, None, "").await;
        assert_eq!(first["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
        let keys = json!({ "one_time_keys": { "signed_curve25519:AAAAAQ": { "key": "one" } } });
        server.post(&format!("{CLIENT}/keys/upload"), &bob.token, keys).await.ok();

        let body = json!({ "messages": { &bob.id: { "*": { "secret": 1 } } } });
        let path = format!("{CLIENT}/sendToDevice/m.test/txn");
        server.put(&path, &alice.token, body.clone()).await.ok();
        server.put(&path, &alice.token, body).await.ok();
        let second = sync(&server, &bob, Some(next_batch(&first)), "").await;
        assert_eq!(second["device_one_time_keys_count"], json!({ "signed_curve25519": 1 }));
        let expected = json!([{ "type": "m.test", "sender": alice.id, "content": { "secret": 1 } }]);
        assert_eq!(second["to_device"]["events"], expected);
        let third = sync(&server, &bob, Some(next_batch(&second)), "").await;
        assert!(third["to_device"].is_null());
        assert_eq!(server.put(&path, &alice.token, json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
        let wrong = json!({ "messages": { "bob": { "*": {} } } });
        assert_eq!(server.put(&path, &alice.token, wrong).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
