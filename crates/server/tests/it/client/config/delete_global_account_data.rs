//! Account data is deleted, global and of a room (MSC3391).

use plexus_testkit::places;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, event, get_unauthenticated, next_batch, sync, two_in_a_room};

const UNSTABLE: &str = "/_matrix/client/unstable/org.matrix.msc3391";
const SLIDING: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";

async fn servers() -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        let config = "experimental_features: {msc3391_enabled: true}";
        servers.push(TestServer::on(place).config(config).start().await);
    }
    servers
}

/// The ends of the paths of the user's account data, global and of the room.
fn paths(user: &TestUser, room: &str) -> [String; 2] {
    let own = format!("/user/{}", user.id);
    [format!("{own}/account_data/org.example"), format!("{own}/rooms/{room}/account_data/org.example")]
}

fn contents(answer: &Value, room: &str) -> [Option<Value>; 2] {
    let places = [&answer["account_data"], &answer["rooms"]["join"][room]["account_data"]];
    places.map(|place| event(place, "org.example").map(|event| event["content"].clone()))
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_clients_that_have_it_learn_so() {
    for mut server in servers().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let [global, of_room] = paths(&bob, &room);
        let delete = async |server: &TestServer, way: &str, path: &str| match way {
            "delete" => server.delete(&format!("{UNSTABLE}{path}"), &bob.token).await,
            _ => server.put(&format!("{CLIENT}{path}"), &bob.token, json!({})).await,
        };
        for way in ["delete", "empty"] {
            for path in [&global, &of_room] {
                server.put(&format!("{CLIENT}{path}"), &bob.token, json!({ "a": 1 })).await.ok();
            }
            let first = sync(&server, &bob, None, "").await;
            assert_eq!(contents(&first, &room), [Some(json!({ "a": 1 })), Some(json!({ "a": 1 }))]);
            for path in [&global, &of_room] {
                assert_eq!(delete(&server, way, path).await.ok(), &json!({}));
                assert_eq!(server.get(&format!("{CLIENT}{path}"), &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
            }
            server.restart().await;
            let second = sync(&server, &bob, Some(next_batch(&first)), "").await;
            assert_eq!(contents(&second, &room), [Some(json!({})), Some(json!({}))]);
            let all = sync(&server, &bob, None, "").await;
            assert_eq!(contents(&all, &room), [None, None]);
            // Deleting again announces nothing.
            delete(&server, way, &global).await.ok();
            let third = sync(&server, &bob, Some(next_batch(&second)), "").await;
            assert_eq!(contents(&third, &room), [None, None]);
        }
        let others = server.delete(&format!("{UNSTABLE}{global}"), &alice.token).await;
        assert_eq!(others.refusal(), (403, "M_FORBIDDEN"));
        for event_type in ["m.push_rules", "m.fully_read"] {
            let path = format!("{UNSTABLE}/user/{}/account_data/{event_type}", bob.id);
            assert_eq!(server.delete(&path, &bob.token).await.refusal(), (405, "M_BAD_JSON"));
        }
        let unknown = format!("{UNSTABLE}/user/{}/rooms/!x:test.example/account_data/org.example", bob.id);
        assert_eq!(server.delete(&unknown, &bob.token).await.ok(), &json!({}));
    }
}

#[tokio::test]
async fn sliding_sync_shows_what_was_deleted_also_after_it_left_account_data_out() {
    for server in servers().await {
        let (_, bob, room) = two_in_a_room(&server).await;
        let [global, of_room] = paths(&bob, &room);
        for path in [&global, &of_room] {
            server.put(&format!("{CLIENT}{path}"), &bob.token, json!({ "a": 1 })).await.ok();
        }
        let sliding = async |pos: Option<&str>, enabled: bool| {
            let path = pos.map_or_else(|| SLIDING.to_owned(), |pos| format!("{SLIDING}&pos={pos}"));
            let body = json!({
                "lists": { "all": { "ranges": [[0, 9]], "required_state": [], "timeline_limit": 1 } },
                "extensions": { "account_data": { "enabled": enabled } },
            });
            let answer = server.post(&path, &bob.token, body).await.ok().clone();
            let data = &answer["extensions"]["account_data"];
            let found = |events: &Value| {
                let mut events = events.as_array().into_iter().flatten();
                events.find(|event| event["type"] == "org.example").map(|event| event["content"].clone())
            };
            let found = [found(&data["global"]), found(&data["rooms"][&room])];
            (answer["pos"].as_str().unwrap().to_owned(), found)
        };
        let (pos, found) = sliding(None, true).await;
        assert_eq!(found, [Some(json!({ "a": 1 })), Some(json!({ "a": 1 }))]);
        for path in [&global, &of_room] {
            server.delete(&format!("{UNSTABLE}{path}"), &bob.token).await.ok();
        }
        let (left_out, found) = sliding(Some(&pos), false).await;
        assert_eq!(found, [None, None]);
        let (_, found) = sliding(Some(&left_out), true).await;
        assert_eq!(found, [Some(json!({})), Some(json!({}))]);
        let (_, found) = sliding(None, true).await;
        assert_eq!(found, [None, None]);
    }
}

#[tokio::test]
async fn without_the_option_an_empty_content_is_one() {
    let server = TestServer::sqlite().await;
    let (_, bob, room) = two_in_a_room(&server).await;
    for path in paths(&bob, &room) {
        server.put(&format!("{CLIENT}{path}"), &bob.token, json!({})).await.ok();
        assert_eq!(server.get(&format!("{CLIENT}{path}"), &bob.token).await.ok(), &json!({}));
        let refused = server.delete(&format!("{UNSTABLE}{path}"), &bob.token).await;
        assert_eq!(refused.refusal(), (404, "M_UNRECOGNIZED"));
    }
    let versions = get_unauthenticated(&server, "/_matrix/client/versions").await;
    assert_eq!(versions.ok()["unstable_features"]["org.matrix.msc3391"], json!(false));
}
