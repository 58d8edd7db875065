//! `POST /user/{user_id}/filter`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, event, say, sync, two_in_a_room};

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
