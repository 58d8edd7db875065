//! While part of a room's state is missing.

use super::*;

fn states_asked(host: &RoomHost, what: &str) -> usize {
    let path = format!("/v1/{what}/");
    host.peer.received().iter().filter(|request| request.uri.contains(&path)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_user_joins() {
    for mut server in TestServer::on_each().await {
        let host = BigRoom::new(200, 300).host(&[]).await;
        host.room.tell_state(false);
        let (alice, bob, eve) =
            (server.register("alice").await, server.register("bob").await, server.register("eve").await);
        join(&server, &alice, &host).await.ok();
        say(&server, &alice, &host, "anybody here?").await;
        // Those who know the members decide.
        host.room.set_ways(|ways| ways.refuses_joins = true);
        assert_eq!(join(&server, &eve, &host).await.refusal(), (403, "M_FORBIDDEN"));
        host.room.set_ways(|ways| ways.refuses_joins = false);
        join(&server, &bob, &host).await.ok();
        say(&server, &bob, &host, "I am").await;
        assert_eq!(host.room.joined(), 202);
        let (_, lazy) = sync_room_until(&server, &alice, &host, ("", LAZY), |room| says(room, "I am")).await;
        hear(&server, &host, 3, "so are we").await;

        server.restart().await;
        host.room.tell_state(true);
        assert_eq!(joined_members(&server, &bob, &host).await, 202);
        assert_eq!(state_len(&server, &bob, &host).await, Some(302));
        sync_room_until(&server, &alice, &host, (&lazy, LAZY), |room| says(room, "so are we")).await;
        sync_room_until(&server, &bob, &host, ("", ""), |room| says(room, "so are we")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sliding_sync_counts_the_members_that_came_before_a_restart() {
    for mut server in TestServer::on_each().await {
        let host = BigRoom::new(200, 300).host(&[]).await;
        host.room.tell_state(false);
        let alice = server.register("alice").await;
        join(&server, &alice, &host).await.ok();
        let list = json!({ "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [["m.room.member", "$LAZY"]] });
        let body = json!({ "lists": { "all": list } });
        let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
        let first = server.post(path, &alice.token, body.clone()).await;
        let room = &first.ok()["rooms"][host.room.id().as_str()];
        assert_eq!(room["initial"], true);
        assert_ne!(room["joined_count"], 201);
        host.room.tell_state(true);
        assert_eq!(joined_members(&server, &alice, &host).await, 201);
        server.restart().await;
        let path = format!("{path}?timeout=0&pos={}", first.body["pos"].as_str().expect("a position"));
        let second = server.post(&path, &alice.token, body).await;
        assert_eq!(second.ok()["rooms"][host.room.id().as_str()]["joined_count"], 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_behind_the_previous_events_will_do() {
    for server in TestServer::on_each().await {
        for (last, state, prev_events) in [
            ("a message", 300, 1),
            ("a member's change", 300, 1),
            ("a new setting", 301, 1),
            ("a member's change", 300, 2),
            ("a new setting", 301, 3),
        ] {
            let host = BigRoom::new(200, 300).host(&[]).await;
            let member = host.room.member(4);
            match last {
                "a message" => host.room.send(&member, "m.room.message", None, json!({ "body": "x" })),
                "a member's change" => {
                    let content = json!({ "membership": "join", "displayname": "the last name" });
                    host.room.send(&member, "m.room.member", Some(member.as_str()), content)
                }
                _ => host.room.send(&host.room.creator(), "org.example.last", Some(""), json!({ "last": true })),
            };
            host.room.set_ways(|ways| (ways.refuses_state_at_joins, ways.prev_events) = (true, prev_events));
            let alice = server.register(&unique_name()).await;
            join(&server, &alice, &host).await.ok();
            assert_eq!(joined_members(&server, &alice, &host).await, 201, "{last}");
            assert_eq!(state_len(&server, &alice, &host).await, Some(state + 1), "{last}");
            let known = server.get(&client(&host, &format!("state/m.room.member/{member}")), &alice.token).await;
            let name = known.ok()["displayname"].as_str().unwrap_or_default();
            assert_eq!(name == "the last name", last == "a member's change", "{name}");
            assert_eq!(states_asked(&host, "state_ids"), prev_events);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_tells_the_state() {
    for server in TestServer::on_each().await {
        let host = BigRoom::new(200, 300).host(&[]).await;
        let other = host.another().await;
        let name = other.name().to_string();
        host.room.set_ways(|ways| (ways.refuses_state, ways.other_servers) = (true, vec![name]));
        let alice = server.register("alice").await;
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, 201);
        assert_eq!((states_asked(&host, "state"), states_asked(&host, "state_ids")), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_join_at_once() {
    for server in TestServer::on_each().await {
        let host = BigRoom::new(200, 300).host(&[]).await;
        host.room.tell_state(false);
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let both = tokio::join!(join(&server, &alice, &host), join(&server, &bob, &host));
        both.0.ok();
        both.1.ok();
        say(&server, &alice, &host, "me first").await;
        say(&server, &bob, &host, "no, me").await;
        host.room.tell_state(true);
        assert_eq!(joined_members(&server, &alice, &host).await, 202);
        hear(&server, &host, 3, "welcome").await;
        for user in [&alice, &bob] {
            sync_room_until(&server, user, &host, ("", ""), |room| says(room, "welcome")).await;
        }
    }
}
