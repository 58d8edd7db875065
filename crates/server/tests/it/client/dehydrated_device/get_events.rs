//! `GET` and `POST /dehydrated_device/{device_id}/events`.

use serde_json::{Value, json};

use super::{PATH, dehydrate, send, servers};

fn numbers(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["content"]["number"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn messages_are_read_in_pages_and_kept() {
    for mut server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        dehydrate(&server, &alice, "AWAY").await;
        for number in 1..=5 {
            send(&server, &bob, &alice, number).await;
        }
        let events = format!("{PATH}/AWAY/events");
        for _ in 0..2 {
            let mut from = String::new();
            for expected in [vec![1, 2], vec![3, 4], vec![5]] {
                let page = server.get(&format!("{events}?limit=2{from}"), &alice.token).await.ok().clone();
                assert_eq!(numbers(&page), expected);
                from = page["next_batch"].as_str().map(|next| format!("&from={next}")).unwrap_or_default();
            }
            assert_eq!(from, "", "the last page names no further one");
        }
        let first = server.get(&events, &alice.token).await.ok()["events"][0].clone();
        assert_eq!(first, json!({ "type": "m.test", "sender": bob.id, "content": { "number": 1 } }));

        // The earlier form: a token on every page, and an empty page at the end. Also after a restart.
        let mut body = json!({});
        for expected in [vec![1, 2, 3], vec![4, 5], vec![], vec![]] {
            let page = server.post(&format!("{events}?limit=3"), &alice.token, body).await.ok().clone();
            assert_eq!(numbers(&page), expected);
            body = json!({ "next_batch": page["next_batch"].as_str().unwrap() });
            server.restart().await;
        }
    }
}

#[tokio::test]
async fn only_the_users_own_dehydrated_device_is_read() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let events = |device: &str| format!("{PATH}/{device}/events");
        assert_eq!(server.get(&events("AWAY"), &alice.token).await.refusal(), (403, "M_FORBIDDEN"));
        dehydrate(&server, &alice, "AWAY").await;
        assert_eq!(server.get(&events(&alice.device_id), &alice.token).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(server.get(&events("AWAY"), &bob.token).await.refusal(), (403, "M_FORBIDDEN"));
        for token in ["x", "-1", "99999999999999999999"] {
            let answer = server.get(&format!("{}?from={token}", events("AWAY")), &alice.token).await;
            assert_eq!(answer.refusal(), (400, "M_INVALID_PARAM"));
            let body = json!({ "next_batch": token });
            assert_eq!(server.post(&events("AWAY"), &alice.token, body).await.refusal(), (400, "M_INVALID_PARAM"));
        }
        let answer = server.get(&format!("{}?limit=-1", events("AWAY")), &alice.token).await;
        assert_eq!(answer.refusal(), (400, "M_INVALID_PARAM"));
        let answer = server.post(&events("AWAY"), &alice.token, json!({ "next_batch": 1 })).await;
        assert_eq!(answer.refusal(), (400, "M_BAD_JSON"));
        assert_eq!(server.get(&format!("{}?limit=0", events("AWAY")), &alice.token).await.ok(), &json!({"events": []}));
    }
}
