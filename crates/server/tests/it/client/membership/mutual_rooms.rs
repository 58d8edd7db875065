//! `GET /mutual_rooms`, and its unstable form.

use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{create, join, public_room};

const STABLE: &str = "/_matrix/client/v1/mutual_rooms";
const UNSTABLE: &str = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms";

fn rooms(answer: &Value) -> Vec<String> {
    let joined = answer["joined"].as_array().into_iter().flatten();
    joined.filter_map(|room| room.as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_in_common_come_in_pages() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut expected = Vec::new();
        for _ in 0..102 {
            let room = public_room(&server, &alice).await;
            join(&server, &bob, &room).await;
            expected.push(room);
        }
        create(&server, &alice, json!({ "invite": [bob.id] })).await;
        for (path, parameter, member) in [(STABLE, "from", "next_batch"), (UNSTABLE, "batch_token", "next_batch_token")]
        {
            let first = server.get(&format!("{path}?user_id={}", bob.id), &alice.token).await;
            let next = first.ok()[member].as_str().expect("a token").to_owned();
            let mut found = rooms(&first.body);
            assert_eq!(found.len(), 100);
            assert_eq!(first.body["count"], if path == STABLE { json!(102) } else { Value::Null });
            let last = server.get(&format!("{path}?user_id={}&{parameter}={next}", bob.id), &alice.token).await;
            assert_eq!(last.ok()[member], Value::Null);
            found.extend(rooms(&last.body));
            assert_eq!(found, expected, "{path}");
            let nobody = server.get(&format!("{path}?user_id=@nobody:test.example"), &alice.token).await;
            assert_eq!(nobody.ok()["joined"], json!([]));
            for (parameters, refusal) in [
                (format!("user_id={}", alice.id), (400, "M_INVALID_PARAM")),
                (format!("user_id={}&{parameter}=nonsense", bob.id), (400, "M_INVALID_PARAM")),
                ("user_id=bob".to_owned(), (400, "M_INVALID_PARAM")),
                (String::new(), (400, "M_MISSING_PARAM")),
            ] {
                let refused = server.get(&format!("{path}?{parameters}"), &alice.token).await;
                assert_eq!(refused.refusal(), refusal, "{path}?{parameters}");
            }
        }
        let versions = server.get("/_matrix/client/versions", &alice.token).await;
        assert_eq!(versions.ok()["unstable_features"]["uk.half-shot.msc2666.query_mutual_rooms"], true);
    }
}
