//! `GET /publicRooms`.

use http::Method;
use plexus_testkit::TestPlace;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{create, join};

const OPEN: &str = "room_list_publication_rules: [{action: allow}]";

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_public_rooms() {
    let server = TestServer::on(TestPlace::sqlite()).config(OPEN).start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let mut rooms = Vec::new();
    for name in ["Apples", "Pears", "Plums"] {
        let body = json!({ "visibility": "public", "name": name, "topic": format!("All about {name}") });
        rooms.push(create(&server, &alice, body).await);
    }
    create(&server, &alice, json!({ "visibility": "public", "creation_content": { "type": "m.space" } })).await;
    create(&server, &alice, json!({ "name": "Hidden" })).await;
    join(&server, &bob, &rooms[1]).await;
    let list = "/_matrix/client/v3/publicRooms";
    let nobody = server.request(Method::GET, list, None, None).await;
    assert_eq!(nobody.refusal(), (401, "M_MISSING_TOKEN"));
    let page = server.get(&format!("{list}?limit=2"), &bob.token).await;
    assert_eq!(page.ok()["total_room_count_estimate"], 4);
    assert_eq!(page.body["chunk"][0]["name"], "Pears");
    assert_eq!(page.body["chunk"][0]["num_joined_members"], 2);
    assert_eq!(page.body["chunk"][0]["join_rule"], "public");
    let next = page.body["next_batch"].as_str().unwrap_or_default();
    let page = server.get(&format!("{list}?limit=2&since={next}"), &bob.token).await;
    assert_eq!(page.ok()["chunk"].as_array().map(Vec::len), Some(2));
    assert!(page.body["next_batch"].is_null());
    let search = |filter: Value| server.post(list, &bob.token, json!({ "filter": filter }));
    assert_eq!(search(json!({ "generic_search_term": "PLUM" })).await.ok()["chunk"][0]["name"], "Plums");
    assert_eq!(search(json!({ "room_types": ["m.space"] })).await.ok()["total_room_count_estimate"], 1);
    assert_eq!(search(json!({ "room_types": [null] })).await.ok()["total_room_count_estimate"], 3);
    let entry = format!("/_matrix/client/v3/directory/list/room/{}", rooms[1]);
    let hide = json!({ "visibility": "private" });
    assert_eq!(server.put(&entry, &bob.token, hide.clone()).await.refusal(), (403, "M_FORBIDDEN"));
    server.put(&entry, &alice.token, hide).await.ok();
    assert_eq!(server.get(&entry, &bob.token).await.ok()["visibility"], "private");
    assert_eq!(search(json!({})).await.ok()["total_room_count_estimate"], 3);
    let odd = server.get(&format!("{list}?since=odd"), &bob.token).await;
    assert_eq!(odd.refusal(), (400, "M_INVALID_PARAM"));
}
