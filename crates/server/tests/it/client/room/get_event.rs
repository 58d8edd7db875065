//! `GET /events/{event_id}`.

use plexus_testkit::server::TestServer;

use crate::client::{CLIENT, say, two_in_a_room};

#[tokio::test(flavor = "multi_thread")]
async fn members_find_an_event_without_naming_its_room() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let carol = server.register("carol").await;
        let said = say(&server, &alice, &room, "hello").await;
        let path = format!("{CLIENT}/events/{said}");
        let event = server.get(&path, &bob.token).await;
        assert_eq!((event.ok()["room_id"].as_str(), &event.body["content"]["body"]), (Some(&*room), &"hello".into()));
        assert_eq!(server.get(&path, &carol.token).await.refusal(), (404, "M_NOT_FOUND"));
        let unknown = format!("{CLIENT}/events/$unknown");
        assert_eq!(server.get(&unknown, &bob.token).await.refusal(), (404, "M_NOT_FOUND"));
        let malformed = format!("{CLIENT}/events/event");
        assert_eq!(server.get(&malformed, &bob.token).await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
