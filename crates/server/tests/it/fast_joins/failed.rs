//! Joins that the other server has accepted, and that fail here.

use super::*;

const MEMBERS: usize = 300;

/// How often the host was asked for something whose path contains `part`.
fn asked(host: &RoomHost, part: &str) -> usize {
    host.peer.received().iter().filter(|request| request.uri.contains(part)).count()
}

/// A room whose host says that it has let the user in, and then breaks off.
async fn breaking() -> RoomHost {
    let host = BigRoom::new(MEMBERS, 400).host(&[]).await;
    host.room.set_ways(|ways| (ways.omits_members, ways.joins_break_off) = (false, Some(100_000)));
    host
}

async fn joined_rooms(server: &TestServer, user: &TestUser) -> Value {
    server.get("/_matrix/client/v3/joined_rooms", &user.token).await.ok()["joined_rooms"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leave_is_sent_to_the_other_server() {
    for server in TestServer::on_each().await {
        let (host, alice) = (breaking().await, server.register("alice").await);
        let (_, before) = sync_room_until(&server, &alice, &host, ("", ""), |_| true).await;
        assert_eq!(join(&server, &alice, &host).await.refusal(), (502, "M_UNKNOWN"));
        assert_eq!(asked(&host, "/send_leave/"), 1);
        assert_eq!(host.room.joined(), MEMBERS, "the host has her as a member no more");
        assert_eq!(joined_rooms(&server, &alice).await, json!([]));
        let sync = server.get(&format!("/_matrix/client/v3/sync?since={before}"), &alice.token).await;
        let left = &sync.ok()["rooms"]["leave"][host.room.id().as_str()]["timeline"]["events"];
        assert_eq!(left[0]["content"]["membership"], "leave", "{left}");

        host.room.set_ways(|ways| ways.joins_break_off = None);
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, MEMBERS + 1);
        server.post(&client(&host, "leave"), &alice.token, json!({})).await.ok();
        server.post(&client(&host, "forget"), &alice.token, json!({})).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_forgetting_a_room_that_could_not_be_joined() {
    for server in TestServer::on_each().await {
        let (host, alice) = (breaking().await, server.register("alice").await);
        join(&server, &alice, &host).await.refusal();
        server.post(&client(&host, "forget"), &alice.token, json!({})).await.ok();
        // The host has the leave: there is nothing to leave.
        server.post(&client(&host, "leave"), &alice.token, json!({})).await.ok();
        assert_eq!(asked(&host, "/send_leave/"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_that_could_not_be_sent_is_sent_later() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let (host, alice) = (breaking().await, server.register("alice").await);
        host.room.set_ways(|ways| ways.fails_leaves = true);
        assert_eq!(join(&server, &alice, &host).await.refusal(), (502, "M_UNKNOWN"));
        assert_eq!((host.room.joined(), asked(&host, "/send_leave/")), (MEMBERS + 1, 0));
        host.room.set_ways(|ways| ways.fails_leaves = false);
        while host.room.joined() > MEMBERS {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        server.post(&client(&host, "forget"), &alice.token, json!({})).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_does_not_wait_for_that() {
    for server in TestServer::on_each().await {
        let (host, alice) = (breaking().await, server.register("alice").await);
        host.room.set_ways(|ways| ways.fails_leaves = true);
        join(&server, &alice, &host).await.refusal();
        host.room.set_ways(|ways| ways.fails_leaves = false);
        server.post(&client(&host, "leave"), &alice.token, json!({})).await.ok();
        assert_eq!((host.room.joined(), asked(&host, "/send_leave/")), (MEMBERS, 1));
        server.post(&client(&host, "forget"), &alice.token, json!({})).await.ok();
        // A retry does not need any of it.
        host.room.set_ways(|ways| ways.joins_break_off = None);
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, MEMBERS + 1);
    }
}

/// Nothing of the answer came: whether the host has let her in is not known.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_have_let_the_user_in() {
    for server in TestServer::on_each().await {
        let (host, alice) = (BigRoom::new(30, 60).host(&[]).await, server.register("alice").await);
        host.room.set_ways(|ways| (ways.fails_leaves, ways.joins_break_off) = (true, Some(1)));
        assert_eq!(join(&server, &alice, &host).await.refusal(), (502, "M_UNKNOWN"));
        assert_eq!(host.room.joined(), 31);
        host.room.set_ways(|ways| ways.fails_leaves = false);
        server.post(&client(&host, "leave"), &alice.token, json!({})).await.ok();
        assert_eq!(host.room.joined(), 30);
        server.post(&client(&host, "forget"), &alice.token, json!({})).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_joins_at_once_join_once() {
    for server in TestServer::on_each().await {
        let host = BigRoom::new(30, 60).host(&[]).await;
        let alice = server.register("alice").await;
        let both = tokio::join!(join(&server, &alice, &host), join(&server, &alice, &host));
        both.0.ok();
        both.1.ok();
        assert_eq!(asked(&host, "/send_join/"), 1);
    }
}

/// An invite is not used up at once: whoever was invited can try again, and can decline.
#[tokio::test(flavor = "multi_thread")]
async fn an_invited_user_can_try_again() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let host = breaking().await;
        let creator = host.room.creator();
        host.room.send(&creator, "m.room.join_rules", Some(""), json!({ "join_rule": "invite" }));
        let is_invited = async |user: &TestUser| {
            let sync = server.get("/_matrix/client/v3/sync", &user.token).await;
            sync.ok()["rooms"]["invite"].get(host.room.id().as_str()).is_some()
        };
        let fails_to_join = async |name: &str| {
            let user = server.register(name).await;
            let pdu = host.room.send(&creator, "m.room.member", Some(&user.id), json!({ "membership": "invite" }));
            let event: Value = serde_json::from_str(pdu.json()).expect("an event is JSON");
            let body = json!({ "room_version": "11", "event": event, "invite_room_state": [] });
            let path = format!("/_matrix/federation/v2/invite/{}/{}", host.room.id(), pdu.event_id());
            host.peer.put(&server, &path, body).await.ok();
            assert_eq!(join(&server, &user, &host).await.refusal(), (502, "M_UNKNOWN"), "{name}");
            assert!(is_invited(&user).await, "{name}");
            user
        };
        let waits = fails_to_join("waits").await;
        assert_eq!((host.room.joined(), asked(&host, "/send_leave/")), (MEMBERS + 1, 0));
        // In the end the host gets the leave.
        while is_invited(&waits).await {
            clock.advance(Duration::from_secs(10));
        }
        assert_eq!((host.room.joined(), asked(&host, "/send_leave/")), (MEMBERS, 1));

        let declines = fails_to_join("declines").await;
        server.post(&client(&host, "leave"), &declines.token, json!({})).await.ok();
        assert_eq!((host.room.joined(), asked(&host, "/send_leave/")), (MEMBERS, 2));
        assert!(!is_invited(&declines).await);

        let tries_again = fails_to_join("again").await;
        host.room.set_ways(|ways| ways.joins_break_off = None);
        join(&server, &tries_again, &host).await.ok();
        assert_eq!(joined_members(&server, &tries_again, &host).await, MEMBERS + 1);
        assert_eq!(asked(&host, "/send_leave/"), 2);
    }
}
