//! `GET /rooms/{room_id}/messages`.

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, bodies, create, join, public_room, room_path, say, send, two_in_a_room};

#[tokio::test(flavor = "multi_thread")]
async fn paging_meets_every_event_once() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let mut said = Vec::new();
        for number in 0..90 {
            said.push(format!("{number}"));
            say(&server, &alice, &room, &format!("{number}")).await;
        }
        for direction in ["b", "f"] {
            let mut found: Vec<String> = Vec::new();
            let mut from = String::new();
            loop {
                let query = format!("messages?dir={direction}&limit=7{from}");
                let page = server.get(&room_path(&room, &query), &alice.token).await;
                found.extend(bodies(&page.ok()["chunk"]).into_iter().map(str::to_owned));
                let Some(end) = page.body["end"].as_str() else { break };
                from = format!("&from={end}");
            }
            if direction == "b" {
                found.reverse();
            }
            assert_eq!(found, said, "{direction}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_chunk_says_where_it_begins_and_ends() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        say(&server, &alice, &room, "first").await;
        let messages = async |query: &str| {
            let page = server.get(&room_path(&room, &format!("messages?{query}")), &alice.token).await;
            page.ok().clone()
        };
        let is_empty = |page: &Value| page["chunk"] == json!([]);
        for direction in ["b", "f"] {
            // All there is, and then nothing.
            let page = messages(&format!("dir={direction}&limit=100")).await;
            assert!(bodies(&page["chunk"]).contains(&"first"));
            let end = page["end"].as_str().unwrap_or_else(|| panic!("{direction}: no end"));
            let next = messages(&format!("dir={direction}&limit=100&from={end}")).await;
            assert!(is_empty(&next), "{next}");
            assert_eq!((&next["start"], next.get("end")), (&json!(end), None));
        }
        // Where the room ended is where it goes on.
        let end = messages("dir=f&limit=100").await["end"].clone();
        say(&server, &alice, &room, "second").await;
        let more = messages(&format!("dir=f&from={}", end.as_str().unwrap_or_default())).await;
        assert_eq!(bodies(&more["chunk"]), ["second"]);

        let synced = server.get("/_matrix/client/v3/sync", &alice.token).await;
        let token = synced.ok()["next_batch"].as_str().unwrap_or_default().to_owned();
        assert_eq!(messages(&format!("dir=b&from={token}")).await["start"], json!(token));
        assert_eq!(bodies(&messages("dir=b&from=&to=").await["chunk"]), ["second", "first"]);
        let none = messages(&format!("dir=b&limit=0&from={token}")).await;
        assert!(is_empty(&none), "{none}");
        assert_eq!(none["start"], json!(token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_token_is_none() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = public_room(&server, &alice).await;
        let said = say(&server, &alice, &room, "hello").await;
        for path in [
            format!("/_matrix/client/v1/rooms/{room}/relations/{said}?from=&to="),
            format!("/_matrix/client/v1/rooms/{room}/threads?from="),
            format!("/_matrix/client/v1/rooms/{room}/hierarchy?from="),
            "/_matrix/client/v3/publicRooms?since=".to_owned(),
        ] {
            assert_eq!(server.get(&path, &alice.token).await.status, 200, "{path}");
        }
        let listed = server.post("/_matrix/client/v3/publicRooms", &alice.token, json!({ "since": "" })).await;
        assert_eq!(listed.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_lazy_members() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        join(&server, &bob, &room).await;
        say(&server, &alice, &room, "a").await;
        for _ in 0..30 {
            send(&server, &bob, &room, "org.example.noise", json!({})).await.ok();
        }
        let filter = "%7B%22types%22:%5B%22m.room.message%22%5D,%22lazy_load_members%22:true%7D";
        let page = server.get(&room_path(&room, &format!("messages?dir=b&limit=5&filter={filter}")), &bob.token).await;
        assert_eq!(bodies(&page.ok()["chunk"]), ["a"]);
        assert_eq!(page.body["state"].as_array().map(Vec::len), Some(1));
        assert_eq!(page.body["state"][0]["state_key"], json!(alice.id));
        for query in ["messages", "messages?dir=x", "messages?dir=b&from=odd", "messages?dir=b&limit=-1"] {
            assert_eq!(server.get(&room_path(&room, query), &bob.token).await.status, 400, "{query}");
        }
        let odd = server.get(&room_path(&room, "messages?dir=b&filter=odd"), &bob.token).await;
        assert_eq!(odd.refusal(), (400, "M_NOT_JSON"));
    }
}

/// An empty page that says where to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_nothing_begins_where_the_next_one_does() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let body = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
        let room = create(&server, &alice, body).await;
        let root = say(&server, &alice, &room, "root").await;
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        let content = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": relation });
        send(&server, &alice, &room, "m.room.message", content).await.ok();
        for (path, list) in [
            (format!("relations/{root}?"), "chunk"),
            (format!("relations/{root}?dir=f&"), "chunk"),
            (format!("relations/{root}?recurse=true&"), "chunk"),
        ] {
            let path = format!("/_matrix/client/v1/rooms/{room}/{path}");
            let nothing = server.get(&format!("{path}limit=0"), &alice.token).await;
            assert_eq!(nothing.ok()[list], json!([]), "{path}");
            let next = nothing.body["next_batch"].as_str().unwrap_or_default();
            let page = server.get(&format!("{path}limit=1&from={next}"), &alice.token).await;
            assert_eq!(page.ok()[list].as_array().map(Vec::len), Some(1), "{path}{next}: {page:?}");
        }
        // For these the limit "must be an integer greater than zero".
        for path in ["threads", "hierarchy"] {
            let refused = server.get(&format!("/_matrix/client/v1/rooms/{room}/{path}?limit=0"), &alice.token).await;
            assert_eq!(refused.refusal(), (400, "M_INVALID_PARAM"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_ignored_users_are_left_out() {
    for server in TestServer::on_each().await {
        let (alice, bob, room) = two_in_a_room(&server).await;
        let ids = [say(&server, &bob, &room, "1").await, say(&server, &alice, &room, "2").await];
        set_name(&server, &alice, &room).await;
        let ignored = json!({ "ignored_users": { &alice.id: {} } });
        let path = format!("{CLIENT}/user/{}/account_data/m.ignored_user_list", bob.id);
        server.put(&path, &bob.token, ignored).await.ok();
        let messages = server.get(&room_path(&room, "messages?dir=b"), &bob.token).await;
        assert_eq!(bodies(&messages.ok()["chunk"]), ["1"]);
        // The state that they set is shown.
        assert_eq!(messages.body["chunk"][0]["type"], "m.room.name");
        let context = server.get(&room_path(&room, &format!("context/{}", ids[0])), &bob.token).await;
        assert_eq!(bodies(&context.ok()["events_after"]), Vec::<&str>::new());
        let initial = server.get(&room_path(&room, "initialSync"), &bob.token).await;
        assert_eq!(bodies(&initial.ok()["messages"]["chunk"]), ["1"]);
    }
}

async fn set_name(server: &TestServer, user: &TestUser, room: &str) {
    server.put(&room_path(room, "state/m.room.name/"), &user.token, json!({ "name": "Club" })).await.ok();
}
