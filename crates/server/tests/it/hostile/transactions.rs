//! Transactions: too large, replayed, in the wrong order; and what comes in them besides events.

use super::*;

async fn put(stage: &Stage, id: &str, pdus: Vec<Value>, edus: Vec<Value>) -> Answer {
    let body = json!({ "origin": stage.liar.peer.name().as_str(), "origin_server_ts": 1, "pdus": pdus, "edus": edus });
    stage.liar.peer.put(&stage.server, &format!("/_matrix/federation/v1/send/{id}"), body).await
}

fn edu(edu_type: &str, content: Value) -> Value {
    json!({ "edu_type": edu_type, "content": content })
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_events_are_refused_whole() {
    for stage in Stage::on_each("11").await {
        let event = stage.lie(|_| {}).await;
        let typing = edu("m.typing", json!({}));
        assert_eq!(put(&stage, "51", vec![event.clone(); 51], vec![]).await.refusal(), (400, "M_BAD_JSON"));
        assert_eq!(put(&stage, "101", vec![], vec![typing.clone(); 101]).await.refusal(), (400, "M_BAD_JSON"));
        // As many as are allowed are taken, and the same fifty times is taken once.
        put(&stage, "50", vec![event.clone(); 50], vec![typing; 100]).await.ok();
        stage.judged().await;
        let text = event["content"]["body"].as_str().unwrap();
        assert_eq!(stage.bodies().await.iter().filter(|body| *body == text).count(), 1);
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_and_reordered_events_are_stored_once() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let mut chain: Vec<Value> = Vec::new();
        for _ in 0..6 {
            let prev = chain.last().map(|event| id_of(event, stage.version));
            let event = stage.lie(|event| {
                if let Some(prev) = prev {
                    event["prev_events"] = json!([prev]);
                }
            });
            chain.push(event.await);
        }
        let backwards: Vec<Value> = chain.iter().rev().cloned().collect();
        let first = put(&stage, "txn", backwards.clone(), vec![]).await;
        assert_eq!(put(&stage, "txn", backwards, vec![]).await.ok(), first.ok());
        // The same id with something else in it is the same transaction.
        assert_eq!(put(&stage, "txn", vec![], vec![]).await.ok(), first.ok());
        for event in chain.iter().rev() {
            put(&stage, &unique_name(), vec![event.clone()], vec![]).await.ok();
        }
        stage.judged().await;
        let wanted: Vec<&str> = chain.iter().map(|event| event["content"]["body"].as_str().unwrap()).collect();
        let mut seen = stage.bodies().await;
        seen.retain(|body| wanted.contains(&body.as_str()));
        assert_eq!(seen, wanted);
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_transaction_ids_are_answered() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let noise: String = (0..6_000_u32)
            .map(|at| char::from(b'a' + (at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
            .collect();
        for id in ["%00", "%F0%9F%98%80", "..", "%2F", "a%20b", noise.as_str()] {
            let answer = put(&stage, id, vec![], vec![]).await;
            assert!(answer.status < 500, "{id:.20}: {answer:?}");
        }
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_messages_in_the_name_of_others_are_passed_over() {
    for stage in Stage::on_each("11").await {
        let (bob, alice, mallory) = (&stage.honest.bob, &stage.alice.id, &stage.liar.mallory);
        let since = stage.server.get(&format!("{CLIENT}/sync"), &stage.alice.token).await.ok()["next_batch"].clone();
        let newest = stage.newest().await;
        let receipt =
            |user: &str| json!({ &stage.room: { "m.read": { user: { "data": { "ts": 1 }, "event_ids": [newest] } } } });
        let message = |sender: &str, id: &str, content: Value| {
            edu(
                "m.direct_to_device",
                json!({
                    "sender": sender, "type": "m.lie", "message_id": id, "messages": { alice: { "*": content } },
                }),
            )
        };
        let mut edus = vec![
            edu("m.typing", json!({ "room_id": stage.room, "user_id": bob, "typing": true })),
            edu("m.typing", json!({ "room_id": stage.room, "user_id": alice, "typing": true })),
            edu(
                "m.typing",
                json!({ "room_id": stage.room, "user_id": stage.liar.peer.user("stranger"), "typing": true }),
            ),
            edu("m.typing", json!({ "room_id": "!nowhere:test.example", "user_id": mallory, "typing": true })),
            edu("m.receipt", receipt(bob)),
            edu("m.receipt", receipt(alice)),
            edu("m.presence", json!({ "push": [{ "user_id": bob, "presence": "online" }] })),
            edu("m.presence", json!({ "push": [{ "user_id": alice, "presence": "offline", "status_msg": "lie" }] })),
            edu("m.device_list_update", json!({ "user_id": bob, "device_id": "X", "stream_id": 1 })),
            edu("m.device_list_update", json!({ "user_id": alice, "device_id": "X", "stream_id": 1 })),
            edu("m.signing_key_update", json!({ "user_id": alice, "master_key": {} })),
            message(bob, "1", json!({})),
            message(alice, "2", json!({})),
            // No content of an event.
            message(mallory, "3", json!("text")),
            message(mallory, "4", json!([1])),
            message(mallory, "5", json!(null)),
            message(mallory, "6", json!({ "long": "x".repeat(70_000) })),
            message(mallory, &"7".repeat(1_000), json!({})),
        ];
        for strange in [json!(null), json!([]), json!({}), json!({ "push": 1 }), json!({ "messages": 5 }), json!("x")] {
            for kind in ["m.typing", "m.receipt", "m.presence", "m.direct_to_device", "m.device_list_update", "x", ""] {
                edus.push(edu(kind, strange.clone()));
            }
        }
        edus.extend([json!(1), json!(null), json!([]), json!({ "edu_type": 5 })]);
        put(&stage, "lies", vec![], edus).await.ok();
        // What comes last is there: everything before it has been looked at.
        put(&stage, "truth", vec![], vec![message(mallory, "last", json!({ "last": true }))]).await.ok();
        let shown = synced(&stage.server, &stage.alice, since.as_str().unwrap(), |answer| {
            answer["to_device"]["events"].as_array().is_some_and(|events| !events.is_empty())
        })
        .await;
        let messages = shown["to_device"]["events"].as_array().unwrap();
        assert_eq!(
            messages.iter().map(|event| event["content"].clone()).collect::<Vec<_>>(),
            [json!({ "last": true })]
        );
        assert_eq!(
            shown["rooms"]["join"][&stage.room]["ephemeral"]["events"].as_array().map_or(0, Vec::len),
            0,
            "{shown}"
        );
        assert!(shown["device_lists"]["changed"].as_array().is_none_or(|changed| changed.is_empty()), "{shown}");
        assert!(!shown["presence"].to_string().contains("lie"), "{shown}");
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_to_devices_leaves_the_device_working() {
    for stage in Stage::on_each("11").await {
        for round in 0..5 {
            let edus = (0..100).map(|number| {
                edu(
                    "m.direct_to_device",
                    json!({
                        "sender": stage.liar.mallory, "type": "m.flood", "message_id": format!("{round}-{number}"),
                        "messages": { &stage.alice.id: { "*": { "n": number } } },
                    }),
                )
            });
            put(&stage, &unique_name(), vec![], edus.collect()).await.ok();
        }
        // Each answer of a sync brings some, and none twice.
        let (mut since, mut seen) = (String::new(), 0);
        loop {
            let answer = stage.server.get(&format!("{CLIENT}/sync?since={since}&timeout=0"), &stage.alice.token).await;
            let count = answer.ok()["to_device"]["events"].as_array().map_or(0, Vec::len);
            assert!(count <= 100, "{count} at once");
            since = answer.body["next_batch"].as_str().unwrap().to_owned();
            seen += count;
            if count == 0 {
                break;
            }
        }
        assert_eq!(seen, 500);
        stage.is_usable().await;
    }
}
