//! `GET /initialSync`.

use plexus_testkit::server::TestServer;
use serde_json::{Value, json};

use crate::client::{CLIENT, bodies, create, room_path, say, two_in_a_room};

fn of_room<'a>(answer: &'a Value, room: &str) -> &'a Value {
    let rooms = answer["rooms"].as_array().map(Vec::as_slice).unwrap_or_default();
    rooms.iter().find(|info| info["room_id"] == room).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_a_user_in_one_response() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        for text in ["one", "two", "three"] {
            say(&server, &alice, &room, text).await;
        }
        let invited = create(&server, &alice, json!({ "invite": [bob.id] })).await;
        let path = format!("{CLIENT}/user/{}/account_data/org.example", bob.id);
        server.put(&path, &bob.token, json!({ "a": 1 })).await.ok();
        let listed = format!("{CLIENT}/directory/list/room/{room}");
        server.put(&listed, &alice.token, json!({ "visibility": "public" })).await;
        let is_listed = server.get(&listed, &alice.token).await.ok()["visibility"].clone();

        let answer = server.get(&format!("{CLIENT}/initialSync?limit=2"), &bob.token).await;
        let shown = of_room(answer.ok(), &room);
        assert_eq!((&shown["membership"], &shown["visibility"]), (&json!("join"), &is_listed));
        assert_eq!(bodies(&shown["messages"]["chunk"]), ["two", "three"]);
        let state = shown["state"].as_array().cloned().unwrap_or_default();
        assert_eq!(state.iter().filter(|event| event["type"] == "m.room.member").count(), 2);
        assert!(state.iter().all(|event| event["room_id"] == room), "{state:?}");
        let shown = of_room(&answer.body, &invited);
        assert_eq!((&shown["membership"], &shown["inviter"]), (&json!("invite"), &json!(alice.id)));
        assert_eq!(shown["invite"]["content"]["membership"], "invite");
        let account_data = answer.body["account_data"].as_array().cloned().unwrap_or_default();
        assert!(account_data.iter().any(|data| data["type"] == "org.example"), "{account_data:?}");
        assert!(answer.body["presence"].is_array());

        // The stream of events continues where this ends.
        let end = answer.body["end"].as_str().expect("a token").to_owned();
        say(&server, &alice, &room, "four").await;
        let page = server.get(&format!("{CLIENT}/events?timeout=0&from={end}"), &bob.token).await;
        assert_eq!(bodies(&page.ok()["chunk"]), ["four"]);

        server.post(&room_path(&room, "leave"), &bob.token, json!({})).await.ok();
        let answer = server.get(&format!("{CLIENT}/initialSync"), &bob.token).await;
        assert_eq!(of_room(answer.ok(), &room), &Value::Null);
        let answer = server.get(&format!("{CLIENT}/initialSync?archived=true"), &bob.token).await;
        assert_eq!(of_room(answer.ok(), &room)["membership"], "leave");
        let wrong = server.get(&format!("{CLIENT}/initialSync?limit=many"), &bob.token).await;
        assert_eq!(wrong.refusal(), (400, "M_INVALID_PARAM"));
    }
}
