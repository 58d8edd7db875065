//! `PUT /user/{user_id}/rooms/{room_id}/tags/{tag}`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, event, sync, two_in_a_room};

#[tokio::test]
async fn rooms_are_tagged() {
    for server in TestServer::on_each().await {
        let (_, bob, room) = two_in_a_room(&server).await;
        let tags = format!("{CLIENT}/user/{}/rooms/{room}/tags", bob.id);
        assert_eq!(server.get(&tags, &bob.token).await.ok(), &json!({ "tags": {} }));
        server.put(&format!("{tags}/m.favourite"), &bob.token, json!({ "order": 0.25 })).await.ok();
        server.put(&format!("{tags}/u.work"), &bob.token, json!({})).await.ok();
        let both = json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": {} } });
        assert_eq!(server.get(&tags, &bob.token).await.ok(), &both);
        let answer = sync(&server, &bob, None, "").await;
        let shown = event(&answer["rooms"]["join"][&room]["account_data"], "m.tag").expect("tags");
        assert_eq!(shown["content"], both);
        server.delete(&format!("{tags}/m.favourite"), &bob.token).await.ok();
        assert_eq!(server.get(&tags, &bob.token).await.ok(), &json!({ "tags": { "u.work": {} } }));
    }
}
