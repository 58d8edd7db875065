//! `GET /rooms/{room_id}/relations/{event_id}`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{join, public_room, room_path, say, send};

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_bundled_and_listed() {
    let server = TestServer::sqlite().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = public_room(&server, &alice).await;
    join(&server, &bob, &room).await;
    let root = say(&server, &alice, &room, "root").await;
    let relate = |user: TestUser, event_type: &'static str, relation: Value| {
        let (server, room, root) = (&server, room.clone(), root.clone());
        async move {
            let mut relation = relation;
            relation["event_id"] = json!(root);
            let content = json!({
                "msgtype": "m.text", "body": "*", "m.new_content": { "body": "new" }, "m.relates_to": relation,
            });
            send(server, &user, &room, event_type, content).await
        }
    };
    relate(alice.clone(), "m.room.message", json!({ "rel_type": "m.replace" })).await.ok();
    relate(bob.clone(), "m.reaction", json!({ "rel_type": "m.annotation", "key": "+" })).await.ok();
    let twice = relate(bob.clone(), "m.reaction", json!({ "rel_type": "m.annotation", "key": "+" })).await;
    assert_eq!(twice.refusal(), (400, "M_DUPLICATE_ANNOTATION"));
    for _ in 0..3 {
        relate(bob.clone(), "m.room.message", json!({ "rel_type": "m.thread" })).await.ok();
    }
    let event = server.get(&room_path(&room, &format!("event/{root}")), &bob.token).await;
    let relations = &event.ok()["unsigned"]["m.relations"];
    assert_eq!(relations["m.replace"]["content"]["m.new_content"]["body"], "new");
    assert_eq!(relations["m.thread"]["count"], 3);
    assert_eq!(relations["m.thread"]["current_user_participated"], true);

    let v1 = format!("/_matrix/client/v1/rooms/{room}");
    let list = format!("{v1}/relations/{root}/m.thread/m.room.message?limit=2");
    let page = server.get(&list, &alice.token).await;
    assert_eq!(page.ok()["chunk"].as_array().map(Vec::len), Some(2));
    let next = page.body["next_batch"].as_str().unwrap_or_default();
    let page = server.get(&format!("{list}&from={next}"), &alice.token).await;
    assert_eq!(page.ok()["chunk"].as_array().map(Vec::len), Some(1));
    assert!(page.body["next_batch"].is_null());
    let all = server.get(&format!("{v1}/relations/{root}"), &alice.token).await;
    assert_eq!(all.ok()["chunk"].as_array().map(Vec::len), Some(5));
    let threads = server.get(&format!("{v1}/threads?include=participated"), &bob.token).await;
    assert_eq!(threads.ok()["chunk"][0]["event_id"], json!(root));
    let missing = server.get(&format!("{v1}/relations/$nothing"), &alice.token).await;
    assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
}
