//! `PUT /directory/list/appservice/{networkId}/{roomId}`.

use plexus_testkit::app_service::registration;
use plexus_testkit::places;
use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{CLIENT, create};

#[tokio::test]
async fn rooms_are_listed_under_the_network_of_a_service() {
    for place in places() {
        let server = TestServer::on(place).app_service(registration("irc", "null", "")).start().await;
        let alice = server.register("alice").await;
        let room = create(&server, &alice, json!({ "preset": "public_chat", "name": "Channel" })).await;
        let list = async |network: &str, room: &str, token: &str, visibility: Value| {
            let path = format!("{CLIENT}/directory/list/appservice/{network}/{room}");
            server.put(&path, token, json!({ "visibility": visibility })).await
        };
        let search = async |body: Value| {
            let page = server.post(&format!("{CLIENT}/publicRooms"), &alice.token, body).await;
            page.ok()["chunk"].as_array().map_or(0, Vec::len)
        };
        let by_user = list("libera", &room, &alice.token, json!("public")).await;
        assert_eq!(by_user.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(list("libera", &room, "from-irc", json!("x")).await.refusal(), (400, "M_BAD_JSON"));
        assert_eq!(list("libera", &room, "from-irc", Value::Null).await.refusal().0, 400);
        let unknown = list("libera", "!unknown:test.example", "from-irc", json!("public")).await;
        assert_eq!(unknown.refusal(), (404, "M_NOT_FOUND"));
        list("libera", &room, "from-irc", json!("public")).await.ok();
        list("libera", &room, "from-irc", json!("public")).await.ok();
        assert_eq!(search(json!({})).await, 0);
        assert_eq!(search(json!({ "include_all_networks": true })).await, 1);
        assert_eq!(search(json!({ "third_party_instance_id": "irc|libera" })).await, 1);
        assert_eq!(search(json!({ "third_party_instance_id": "irc|oftc" })).await, 0);
        let both = json!({ "include_all_networks": true, "third_party_instance_id": "irc|libera" });
        let both = server.post(&format!("{CLIENT}/publicRooms"), &alice.token, both).await;
        assert_eq!(both.refusal(), (400, "M_INVALID_PARAM"));
        list("libera", &room, "from-irc", json!("private")).await.ok();
        assert_eq!(search(json!({ "include_all_networks": true })).await, 0);
    }
}
