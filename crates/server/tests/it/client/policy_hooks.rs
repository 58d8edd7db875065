//! `policy_hooks`, and the module whose requests they have: what clients may do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plexus_testkit::app_service::{AppServiceRequest, AppServiceStub};
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{TestPlace, places};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::client::media::upload;
use crate::client::{
    CLIENT, LOGIN, REGISTER, create, join, on_each_with, password_login, post_unauthenticated, public_room, room_path,
    say, state, with_password,
};

/// The callbacks that refuse an act of a client. Each has an act in [`Stage::act`].
const ASKED: [&str; 13] = [
    "check_event_for_spam",
    "check_event_allowed",
    "user_may_send_state_event",
    "user_may_invite",
    "user_may_join_room",
    "user_may_create_room",
    "on_create_room",
    "user_may_create_room_alias",
    "user_may_publish_room",
    "check_visibility_can_be_modified",
    "check_registration_for_spam",
    "check_login_for_spam",
    "check_media_file_for_spam",
];

/// Returns the configuration of a hook that is asked about `callbacks`; `more` are further options.
fn config(address: &str, callbacks: &[&str], more: &str) -> String {
    let callbacks = callbacks.join(", ");
    format!(
        "policy_hooks: [{{base_url: 'http://{address}/hooks/', authorization: secret, \
         enabled_callbacks: [{callbacks}]{more}}}]"
    )
}

/// Makes the hook respond to one callback, and allow all others.
fn respond(hook: &AppServiceStub, callback: &str, status: u16, body: Value) {
    let path = format!("/hooks/{callback}");
    hook.respond(move |request| if request.path == path { (status, body.clone()) } else { (200, json!({})) });
}

/// Returns the bodies of the requests about a callback.
fn bodies(hook: &AppServiceStub, callback: &str) -> Vec<Value> {
    let is_about = |request: &AppServiceRequest| request.path == format!("/hooks/{callback}");
    hook.requests().into_iter().filter(is_about).map(|request| request.body).collect()
}

/// Two users and a room of the first.
struct Stage {
    server: TestServer,
    alice: TestUser,
    bob: TestUser,
    room: String,
    number: AtomicU32,
}

impl Stage {
    async fn new(server: TestServer) -> Self {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&server, &alice).await;
        Self { server, alice, bob, room, number: AtomicU32::new(0) }
    }

    async fn hooked(callbacks: &[&str]) -> Vec<(Self, AppServiceStub)> {
        let mut stages = Vec::new();
        for place in places() {
            let hook = AppServiceStub::start().await;
            let config = config(&hook.address.to_string(), callbacks, "");
            stages.push((Self::new(TestServer::on(place).config(&config).start().await).await, hook));
        }
        stages
    }

    /// Does what `callback` is asked about.
    async fn act(&self, callback: &str) -> Answer {
        let Self { server, alice, bob, room, number } = self;
        let n = number.fetch_add(1, Ordering::Relaxed);
        let token = &alice.token;
        match callback {
            "check_event_for_spam" | "check_event_allowed" => {
                let path = room_path(room, &format!("send/m.room.message/{n}"));
                server.put(&path, token, json!({ "msgtype": "m.text", "body": n.to_string() })).await
            }
            "user_may_send_state_event" => {
                server.put(&room_path(room, "state/m.room.topic/"), token, json!({ "topic": n.to_string() })).await
            }
            "user_may_invite" => {
                let user = json!({ "user_id": bob.id });
                let answer = server.post(&room_path(room, "invite"), token, user.clone()).await;
                if answer.status == 200 {
                    server.post(&room_path(room, "kick"), token, user).await.ok();
                }
                answer
            }
            "user_may_join_room" => {
                let answer = server.post(&room_path(room, "join"), &bob.token, json!({})).await;
                if answer.status == 200 {
                    server.post(&room_path(room, "leave"), &bob.token, json!({})).await.ok();
                }
                answer
            }
            "user_may_create_room" | "on_create_room" => {
                server.post(&format!("{CLIENT}/createRoom"), token, json!({ "name": "a room" })).await
            }
            "user_may_create_room_alias" => {
                let alias = format!("{CLIENT}/directory/room/%23alias{n}:{}", server.name());
                server.put(&alias, token, json!({ "room_id": room })).await
            }
            "user_may_publish_room" | "check_visibility_can_be_modified" => {
                let path = format!("{CLIENT}/directory/list/room/{room}");
                server.put(&path, token, json!({ "visibility": "private" })).await
            }
            "check_registration_for_spam" => {
                let body =
                    json!({ "username": format!("new{n}"), "password": "x", "auth": { "type": "m.login.dummy" } });
                post_unauthenticated(server, REGISTER, body).await
            }
            "check_login_for_spam" => {
                post_unauthenticated(server, LOGIN, password_login("alice", "password of alice")).await
            }
            "check_media_file_for_spam" => upload(server, alice, "?filename=cat.txt", "text/plain", b"a cat").await,
            other => panic!("no act for {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hook_refuses_is_refused_with_its_words() {
    for (stage, hook) in Stage::hooked(&ASKED).await {
        for callback in ASKED {
            let before = bodies(&hook, callback).len();
            stage.act(callback).await.ok();
            assert!(bodies(&hook, callback).len() > before, "{callback} was not asked");
            respond(&hook, callback, 400, json!({}));
            let refused = stage.act(callback).await;
            assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"), "{callback}");
            assert!(refused.body["error"].as_str().is_some_and(|text| !text.is_empty()), "{callback}");
            let words = json!({ "errcode": "ORG.EXAMPLE_NO", "error": "No, thanks", "org.example.why": ["x"] });
            respond(&hook, callback, 403, words.clone());
            let refused = stage.act(callback).await;
            assert_eq!((refused.status, &refused.body), (403, &words), "{callback}");
            respond(&hook, callback, 200, json!({}));
            stage.act(callback).await.ok();
        }
        assert!(hook.requests().iter().all(|request| request.method == "POST" && request.token == "secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_sent_the_parameters_of_the_callbacks() {
    for (stage, hook) in Stage::hooked(&ASKED).await {
        for callback in ASKED {
            stage.act(callback).await.ok();
        }
        let (alice, bob, room) = (&stage.alice.id, &stage.bob.id, &stage.room);
        let last = |callback: &str| bodies(&hook, callback).pop().unwrap_or_else(|| panic!("{callback} was not asked"));
        assert_eq!(last("user_may_invite"), json!({ "inviter": alice, "invitee": bob, "room_id": room }));
        assert_eq!(last("user_may_join_room"), json!({ "user": bob, "room": room, "is_invited": false }));
        let publication = json!({ "user_id": alice, "room_id": room });
        assert_eq!(last("user_may_publish_room"), publication);
        let alias = last("user_may_create_room_alias");
        assert!(alias["user_id"] == **alice && alias["room_alias"].as_str().is_some_and(|it| it.starts_with("#alias")));
        let created = last("user_may_create_room");
        assert_eq!((&created["user_id"], &created["room_config"]["name"]), (&json!(alice), &json!("a room")));
        let state_event = last("user_may_send_state_event");
        assert_eq!(state_event["event_type"], "m.room.topic");
        assert!(state_event["content"]["topic"].is_string() && state_event["state_key"] == "", "{state_event}");
        let asked = bodies(&hook, "check_event_for_spam");
        let event = asked.iter().map(|body| &body["event"]).find(|event| event["type"] == "m.room.message");
        let event = event.expect("a message");
        assert_eq!((&event["room_id"], &event["sender"]), (&json!(room), &json!(alice)));
        assert!(event["event_id"].is_string() && event["content"]["body"].is_string(), "{event}");
        assert!(event["auth_events"].is_null() && event["signatures"].is_null(), "{event}");
        let allowed = last("check_event_allowed");
        let types: Vec<&str> =
            allowed["state_events"].as_array().expect("state").iter().filter_map(|it| it["type"].as_str()).collect();
        assert!(types.contains(&"m.room.create") && types.contains(&"m.room.member"), "{types:?}");
        let login = last("check_login_for_spam");
        assert_eq!((&login["user_id"], &login["request_info"][0][1]), (&json!(alice), &json!("127.0.0.1")));
        let file = &last("check_media_file_for_spam")["file_info"];
        assert_eq!((&file["user_id"], &file["size"]), (&json!(alice), &json!(5)));
        assert_eq!((&file["upload_name"], &file["content_type"]), (&json!("cat.txt"), &json!("text/plain")));
        assert_eq!(file["sha256"].as_str().map(str::len), Some(64));
        assert!(last("check_registration_for_spam")["username"].as_str().is_some_and(|name| name.starts_with("new")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_down_refuses_or_allows_as_configured() {
    for place in places() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let flags: Vec<String> = ASKED.iter().map(|it| format!("{it}: {}", *it != "user_may_invite")).collect();
        let open = format!(", fail_open: {{{}}}", flags.join(", "));
        let text = config(&address, &ASKED, &open);
        let stage = Stage::new(TestServer::on(place).config(&text).start().await).await;
        for callback in ASKED {
            let answer = stage.act(callback).await;
            match callback {
                "user_may_invite" => assert_eq!(answer.refusal(), (403, "M_UNKNOWN")),
                _ => assert_eq!(answer.status, 200, "{callback}: {:?}", answer.body),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_the_module_works_unchanged() {
    for place in places() {
        let hook = AppServiceStub::start().await;
        hook.respond(|request| match request.path.as_str() {
            "/api/1/spam_check/ping" => (200, json!({ "id": request.body["id"], "status": "ok" })),
            "/api/1/spam_check/user_may_invite" => (403, json!({ "error": "You are banned" })),
            _ => (403, json!({})),
        });
        let text = format!(
            "modules:
  - module: synapse_http_antispam.HTTPAntispam
    config:
      base_url: http://{}/api/1/spam_check
      authorization: secret
      do_ping: true
      enabled_callbacks: [user_may_invite, user_may_join_room]
      async: {{user_may_join_room: true}}",
            hook.address
        );
        let stage = Stage::new(TestServer::on(place).config(&text).start().await).await;
        let refused = stage.act("user_may_invite").await;
        assert_eq!((refused.refusal(), &refused.body["error"]), ((403, "M_FORBIDDEN"), &json!("You are banned")));
        // Sent in the background: whatever the hook responds.
        stage.act("user_may_join_room").await.ok();
        let is_at = |hook: &AppServiceStub, path: &str| hook.requests().into_iter().find(|it| it.path.ends_with(path));
        let join = hook.wait_for("a join", |hook| is_at(hook, "/user_may_join_room")).await;
        assert_eq!(join.body, json!({ "user": stage.bob.id, "room": stage.room, "is_invited": false }));
        let ping = hook.wait_for("a ping", |hook| is_at(hook, "/ping")).await;
        assert_eq!(ping.token, "secret");
        stage.act("check_event_for_spam").await.ok();
        assert!(is_at(&hook, "/check_event_for_spam").is_none(), "not enabled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_not_json_decides_nothing() {
    for place in places() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"}") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
                    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
                    drop(tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await);
                });
            }
        });
        let text = config(&address, &["check_event_for_spam", "user_may_invite"], "");
        let stage = Stage::new(TestServer::on(place).config(&text).start().await).await;
        assert_eq!(stage.act("user_may_invite").await.refusal(), (403, "M_UNKNOWN"));
        // Events pass by default.
        stage.act("check_event_for_spam").await.ok();
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_delays_only_what_asks_it() {
    for place in places() {
        let (listener, stage) = hanging(place, "1m").await;
        let hangs = stage.act("user_may_invite");
        let others = async {
            // In the same room.
            say(&stage.server, &stage.alice, &stage.room, "hello").await;
            join(&stage.server, &stage.bob, &stage.room).await;
        };
        tokio::select! {
            biased;
            answer = hangs => panic!("{:?}", answer.body),
            () = others => {}
        }
        drop(listener);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_is_given_up() {
    for place in places() {
        let (_listener, stage) = hanging(place, "1s").await;
        assert_eq!(stage.act("user_may_invite").await.refusal(), (403, "M_UNKNOWN"));
    }
}

/// A server whose hook is asked about invites and accepts connections, but never responds.
async fn hanging(place: TestPlace, timeout: &str) -> (TcpListener, Stage) {
    // The system accepts connections as long as somebody listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let text = config(&address, &["user_may_invite"], &format!(", timeout: {timeout}"));
    (listener, Stage::new(TestServer::on(place).config(&text).start().await).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_can_replace_the_content_of_an_event() {
    for (stage, hook) in Stage::hooked(&["check_event_allowed"]).await {
        let content = json!({ "msgtype": "m.text", "body": "replaced" });
        respond(&hook, "check_event_allowed", 200, json!({ "event": { "content": content } }));
        let sent = stage.act("check_event_allowed").await;
        let id = sent.ok()["event_id"].as_str().unwrap_or_default().to_owned();
        let event = stage.server.get(&room_path(&stage.room, &format!("event/{id}")), &stage.alice.token).await;
        assert_eq!(event.ok()["content"], content);
        let repeated = room_path(&stage.room, "send/m.room.message/0");
        let asked = bodies(&hook, "check_event_allowed").len();
        let again = stage.server.put(&repeated, &stage.alice.token, json!({ "msgtype": "m.text", "body": "0" })).await;
        assert_eq!(again.ok()["event_id"], id, "a repeated request");
        assert_eq!(bodies(&hook, "check_event_allowed").len(), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_to_a_new_room_are_asked_about_before_it_exists() {
    for (stage, hook) in Stage::hooked(&["user_may_invite"]).await {
        respond(&hook, "user_may_invite", 403, json!({ "errcode": "M_LIMIT" }));
        let body = json!({ "invite": [stage.bob.id], "room_version": "10" });
        let refused = stage.server.post(&format!("{CLIENT}/createRoom"), &stage.alice.token, body.clone()).await;
        assert_eq!(refused.refusal(), (403, "M_LIMIT"));
        let rooms = stage.server.get(&format!("{CLIENT}/joined_rooms"), &stage.alice.token).await;
        assert_eq!(rooms.ok()["joined_rooms"], json!([stage.room]), "nothing is left behind");
        respond(&hook, "user_may_invite", 200, json!({}));
        let room = create(&stage.server, &stage.alice, body).await;
        let member = state(&stage.server, &stage.alice, &room, &format!("m.room.member/{}", stage.bob.id)).await;
        assert_eq!(member.ok()["membership"], "invite");
        let asked = bodies(&hook, "user_may_invite").pop().expect("asked");
        assert_eq!((&asked["invitee"], &asked["inviter"]), (&json!(stage.bob.id), &json!(stage.alice.id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_a_hook_refuses_are_not_found() {
    for (stage, hook) in Stage::hooked(&["check_username_for_spam"]).await {
        join(&stage.server, &stage.bob, &stage.room).await;
        let search = || async {
            let (path, body) = (format!("{CLIENT}/user_directory/search"), json!({ "search_term": "bob" }));
            stage.server.post(&path, &stage.alice.token, body).await.ok()["results"].clone()
        };
        assert_eq!(search().await[0]["user_id"], stage.bob.id.as_str());
        let profile = json!({ "user_id": stage.bob.id, "display_name": "bob", "avatar_url": null });
        let expected = json!({ "user_profile": profile, "requester_id": stage.alice.id });
        assert_eq!(bodies(&hook, "check_username_for_spam"), [expected]);
        respond(&hook, "check_username_for_spam", 403, json!({}));
        assert_eq!(search().await, json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_can_be_shadow_banned() {
    for (stage, hook) in Stage::hooked(&["check_registration_for_spam"]).await {
        respond(&hook, "check_registration_for_spam", 200, json!({ "behaviour": "shadow_ban" }));
        let carol = stage.server.register("carol").await;
        join(&stage.server, &carol, &stage.room).await;
        let id = say(&stage.server, &carol, &stage.room, "nobody sees this").await;
        let event = stage.server.get(&room_path(&stage.room, &format!("event/{id}")), &stage.alice.token).await;
        assert_eq!(event.status, 404, "{:?}", event.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_learn_of_profiles_and_deactivations() {
    let callbacks = ["check_can_deactivate_user", "on_profile_update", "on_user_deactivation_status_changed"];
    for (stage, hook) in Stage::hooked(&callbacks).await {
        let Stage { server, bob, .. } = &stage;
        let path = format!("{CLIENT}/profile/{}/displayname", bob.id);
        server.put(&path, &bob.token, json!({ "displayname": "Bob" })).await.ok();
        let found = |hook: &AppServiceStub, callback: &str| bodies(hook, callback).pop();
        let update = hook.wait_for("a profile", |hook| found(hook, "on_profile_update")).await;
        assert_eq!(update["new_profile"], json!({ "display_name": "Bob", "avatar_url": null }));
        assert_eq!((&update["user_id"], &update["deactivation"]), (&json!(bob.id), &json!(false)));

        let path = format!("{CLIENT}/account/deactivate");
        respond(&hook, "check_can_deactivate_user", 403, json!({}));
        for refused in [true, false] {
            let first = server.post(&path, &bob.token, json!({})).await;
            let answer = server.post(&path, &bob.token, with_password(bob, &first.body["session"], json!({}))).await;
            assert_eq!(answer.status, if refused { 403 } else { 200 }, "{:?}", answer.body);
            respond(&hook, "check_can_deactivate_user", 200, json!({}));
        }
        let ended = hook.wait_for("a deactivation", |hook| found(hook, "on_user_deactivation_status_changed")).await;
        assert_eq!(ended, json!({ "user_id": bob.id, "deactivated": true, "by_admin": false }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_are_not_asked_about() {
    let callbacks = ["user_may_invite", "user_may_join_room", "user_may_create_room", "user_may_send_state_event"];
    for (mut stage, hook) in Stage::hooked(&callbacks).await {
        crate::client::admin::make_admin(&mut stage.server, &stage.alice).await;
        let asked = hook.requests().len();
        for callback in ["user_may_invite", "user_may_create_room", "user_may_send_state_event"] {
            stage.act(callback).await.ok();
        }
        assert_eq!(hook.requests().len(), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_for_its_turn() {
    for (stage, hook) in Stage::hooked(&["check_event_for_spam"]).await {
        let sending = (0..60).map(|_| stage.act("check_event_for_spam"));
        let sent = futures_util::future::join_all(sending);
        let sent = plexus_testkit::within(Duration::from_secs(60), sent).await.expect("in time");
        assert!(sent.iter().all(|answer| answer.status == 200));
        assert_eq!(bodies(&hook, "check_event_for_spam").len(), 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hooks_modules_that_are_unknown_are_refused() {
    let text = "server_name: a.example\nmodules: [{module: mjolnir.Module, config: {}}]\n";
    let error = plexus_base::config::parse(text).expect_err("refused").to_string();
    assert!(error.contains("modules[0].module: \"mjolnir.Module\" is not supported"), "{error}");
    assert_eq!(on_each_with("modules: []").await.len(), places().len());
}
