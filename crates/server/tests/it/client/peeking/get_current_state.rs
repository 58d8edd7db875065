//! `GET /rooms/{room_id}/initialSync`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{CLIENT, bodies, create, room_path, say, two_in_a_room};

#[tokio::test(flavor = "multi_thread")]
async fn members_read_the_state_and_the_last_events() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        for text in ["one", "two", "three"] {
            say(&server, &alice, &room, text).await;
        }
        let tag = format!("{CLIENT}/user/{}/rooms/{room}/tags/u.work", bob.id);
        server.put(&tag, &bob.token, json!({})).await.ok();
        let path = room_path(&room, "initialSync?limit=2");
        let shown = server.get(&path, &bob.token).await;
        assert_eq!((&shown.ok()["room_id"], &shown.body["membership"]), (&json!(room), &json!("join")));
        assert_eq!(shown.body["visibility"], "private");
        assert_eq!(bodies(&shown.body["messages"]["chunk"]), ["two", "three"]);
        assert_eq!(shown.body["account_data"][0]["type"], "m.tag");
        let members = shown.body["state"].as_array().into_iter().flatten();
        assert_eq!(members.filter(|event| event["type"] == "m.room.member").count(), 2);
        let start = shown.body["messages"]["start"].as_str().expect("a token").to_owned();
        let earlier = server.get(&room_path(&room, &format!("messages?dir=b&limit=1&from={start}")), &bob.token).await;
        assert_eq!(bodies(&earlier.ok()["chunk"]), ["one"]);

        // Who left sees what there was then.
        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        say(&server, &alice, &room, "four").await;
        let shown = server.get(&path, &bob.token).await;
        assert_eq!(shown.ok()["membership"], "leave");
        assert!(!bodies(&shown.body["messages"]["chunk"]).contains(&"four"), "{}", shown.body);
        let private = create(&server, &alice, json!({})).await;
        let refused = server.get(&room_path(&private, "initialSync"), &bob.token).await;
        assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
    }
}
