//! `GET /query/directory`.

use plexus_testkit::{AppServiceStub, Peer, TestPlace, TestServer};
use serde_json::json;

use crate::federation::OPEN;

#[tokio::test(flavor = "multi_thread")]
async fn aliases_and_the_room_directory() {
    let server = TestServer::on(TestPlace::sqlite()).config(OPEN).start().await;
    let peer = Peer::start().await;
    let alice = server.register("alice").await;
    let create = async |name: &str| {
        let room = json!({ "room_alias_name": name, "name": name, "visibility": "public", "preset": "public_chat" });
        let made = server.post("/_matrix/client/v3/createRoom", &alice.token, room).await;
        made.ok()["room_id"].as_str().unwrap_or_default().to_owned()
    };
    let (tea, coffee) = (create("tea").await, create("coffee").await);

    let ask = async |alias: &str| {
        peer.get(&server, &format!("/_matrix/federation/v1/query/directory?room_alias=%23{alias}")).await
    };
    assert_eq!(ask("tea:test.example").await.ok(), &json!({ "room_id": tea, "servers": ["test.example"] }));
    assert_eq!(ask("cocoa:test.example").await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(ask("tea:else.example").await.refusal(), (400, "M_UNKNOWN"));

    let page = peer.get(&server, "/_matrix/federation/v1/publicRooms?limit=1").await;
    let (first, next) = (&page.ok()["chunk"][0]["room_id"], &page.body["next_batch"]);
    assert_eq!(page.body["total_room_count_estimate"], 2);
    let path = format!("/_matrix/federation/v1/publicRooms?limit=1&since={}", next.as_str().unwrap_or_default());
    let second = peer.get(&server, &path).await;
    assert_ne!(first, &second.ok()["chunk"][0]["room_id"]);
    let filter = json!({ "filter": { "generic_search_term": "COFFEE" } });
    let found = peer.post(&server, "/_matrix/federation/v1/publicRooms", filter).await;
    assert_eq!(
        (found.ok()["chunk"].as_array().map(Vec::len), &found.body["chunk"][0]["room_id"]),
        (Some(1), &json!(coffee))
    );

    let closed = TestServer::sqlite().await;
    let refused = peer.get(&closed, "/_matrix/federation/v1/publicRooms").await;
    assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn application_services_are_asked_for_their_aliases() {
    let service = AppServiceStub::start().await;
    let registration = service.registration("irc", "");
    let server = TestServer::on(TestPlace::sqlite()).config(OPEN).app_service(registration).start().await;
    let peer = Peer::start().await;
    let path = "/_matrix/federation/v1/query/directory?room_alias=%23irc_chan:test.example";
    assert_eq!(peer.get(&server, path).await.refusal(), (404, "M_NOT_FOUND"));
    let asked = service.requests().into_iter().any(|it| it.path == "/_matrix/app/v1/rooms/%23irc_chan%3Atest.example");
    assert!(asked, "{:?}", service.requests());
}
