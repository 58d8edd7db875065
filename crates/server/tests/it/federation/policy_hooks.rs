//! What policy hooks are asked about events of other servers.

use plexus_protocol::rules::RoomVersion;
use plexus_testkit::app_service::AppServiceStub;
use plexus_testkit::server::TestServer;
use plexus_testkit::{Peer, places};
use serde_json::{Value, json};

use super::membership::create_invite::{invite, room_of, send_invite};
use super::policy_servers::{VERSION, message, send, until};
use super::{join, json_of, public_room};

async fn hooked(callbacks: &str) -> Vec<(TestServer, AppServiceStub)> {
    let mut servers = Vec::new();
    for place in places() {
        let hook = AppServiceStub::start().await;
        let address = hook.address;
        let config = format!("policy_hooks: [{{base_url: 'http://{address}', enabled_callbacks: [{callbacks}]}}]");
        servers.push((TestServer::on(place).config(&config).start().await, hook));
    }
    servers
}

/// Makes the hook refuse, at `path`, events whose text contains "spam".
fn refuse_spam(hook: &AppServiceStub, path: &'static str) {
    hook.respond(move |request| {
        let is_spam = request.body["event"]["content"]["body"].as_str().is_some_and(|body| body.contains("spam"));
        if request.path == path && is_spam { (403, json!({})) } else { (200, json!({})) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn received_spam_is_soft_failed_or_dropped() {
    for (callback, path) in [
        ("check_event_for_spam", "/check_event_for_spam"),
        ("should_drop_federated_event", "/should_drop_federated_event"),
    ] {
        for (server, hook) in hooked(callback).await {
            refuse_spam(&hook, path);
            let (peer, alice) = (Peer::start().await, server.register("alice").await);
            let room = public_room(&server, &alice, VERSION.as_str()).await;
            let joined = join(&server, &peer, &room, &peer.user("bob")).await;
            let event = |text: &str| message(&peer, &room, &joined, text);
            send(&server, &peer, &[json_of(&event("a spam of Bob's")), json_of(&event("hello"))]).await;
            assert_eq!(until(&server, &alice, &room, "hello").await, ["hello"], "{callback}");
            let spam = event("a spam of Bob's");
            let path = format!("/_matrix/client/v3/rooms/{room}/event/{}", spam.event_id());
            assert_eq!(server.get(&path, &alice.token).await.status, 404, "{callback}");
            // The room goes on, and what the hook refused is asked about only once.
            send(&server, &peer, &[json_of(&spam), json_of(&event("later"))]).await;
            assert_eq!(until(&server, &alice, &room, "later").await.last().map(String::as_str), Some("later"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_by_users_of_other_servers_are_asked_about() {
    for (server, hook) in hooked("federated_user_may_invite, user_may_invite").await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        for (version, refusing) in
            [(RoomVersion::V10, "/federated_user_may_invite"), (RoomVersion::V12, "/user_may_invite")]
        {
            let (room, create) = room_of(&peer, version);
            let pdu = invite(&peer, version, &room, &alice.id);
            let state = json!([json_of(&create)]);
            let body = json!({ "room_version": version, "event": json_of(&pdu), "invite_room_state": state });
            let refusal = json!({ "errcode": "ORG.EXAMPLE_NO", "error": "No invites" });
            let words = refusal.clone();
            hook.respond(move |it| if it.path == refusing { (403, words.clone()) } else { (200, json!({})) });
            let refused = send_invite(&server, &peer, &pdu, body.clone()).await;
            assert_eq!((refused.status, &refused.body), (403, &refusal), "{refusing}");
            let sync = server.get("/_matrix/client/v3/sync", &alice.token).await;
            assert!(sync.ok()["rooms"]["invite"][&room].is_null());
            hook.respond(|_| (200, json!({})));
            send_invite(&server, &peer, &pdu, body).await.ok();
            let sync = server.get("/_matrix/client/v3/sync", &alice.token).await;
            assert!(sync.ok()["rooms"]["invite"][&room].is_object());
        }
        let asked: Vec<Value> = hook
            .requests()
            .into_iter()
            .filter(|it| it.path == "/federated_user_may_invite")
            .map(|it| it.body)
            .collect();
        assert!(asked.iter().all(|body| body["event"]["state_key"] == alice.id.as_str()), "{asked:?}");
        assert!(asked.iter().all(|body| body["event"]["event_id"].is_string()), "{asked:?}");
    }
}
