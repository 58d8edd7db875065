//! Limits on the data that a user stores, in bytes and in number: what exceeds them is refused with the specification's
//! errors.

use http::Method;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

const CLIENT: &str = "/_matrix/client/v3";

async fn room_of(server: &TestServer, user: &TestUser) -> String {
    let room = server.post(&format!("{CLIENT}/createRoom"), &user.token, json!({ "preset": "public_chat" })).await;
    room.ok()["room_id"].as_str().expect("a room id").to_owned()
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_things_are_refused() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = room_of(&server, &alice).await;
        let sent = json!({ "msgtype": "m.text", "body": "hi" });
        let sent = server.put(&format!("{CLIENT}/rooms/{room}/send/m.room.message/1"), &alice.token, sent).await;
        let event = sent.ok()["event_id"].as_str().expect("an event id").to_owned();
        let own = format!("{CLIENT}/user/{}", alice.id);
        let pusher = |name: &str, data: usize| {
            json!({
                "kind": "http", "app_id": "org.example", "pushkey": "key", "app_display_name": name,
                "device_display_name": "phone", "lang": "en",
                "data": { "url": "https://push.example/_matrix/push/v1/notify", "padding": text(data) },
            })
        };
        let presence = |status: usize| json!({ "presence": "online", "status_msg": text(status) });
        let key = |bytes: usize| {
            let key = json!({ "key": text(bytes), "signatures": {} });
            json!({ "one_time_keys": { "signed_curve25519:AAAA": key } })
        };
        let fallbacks = |algorithms: usize| {
            let keys = (0..algorithms).map(|n| (format!("a{n}:AAAA"), json!("key")));
            json!({ "fallback_keys": keys.collect::<serde_json::Map<_, _>>() })
        };
        let filter = |bytes: usize| json!({ "room": { "rooms": [text(bytes)] } });
        let (put, post) = (Method::PUT, Method::POST);
        let too_large: Vec<(&Method, String, Value, Value)> = vec![
            (&put, format!("{own}/account_data/a"), json!({ "a": text(1 << 19) }), json!({ "a": text(1 << 20) })),
            (&put, format!("{own}/rooms/{room}/account_data/a"), json!({}), json!({ "a": text(1 << 20) })),
            (&put, format!("{own}/rooms/{room}/tags/u.work"), json!({}), json!({ "a": text(1 << 20) })),
            (&post, format!("{own}/filter"), filter(60_000), filter(70_000)),
            (&post, format!("{CLIENT}/pushers/set"), pusher("app", 1_000), pusher("app", 20_000)),
            (&post, format!("{CLIENT}/pushers/set"), pusher("app", 0), pusher(&text(2_000), 0)),
            (&put, format!("{CLIENT}/presence/{}/status", alice.id), presence(2_048), presence(2_049)),
            (&post, format!("{CLIENT}/rooms/{room}/report/{event}"), json!({}), json!({ "reason": text(20_000) })),
            (
                &post,
                format!("{CLIENT}/rooms/{room}/report"),
                json!({ "reason": "" }),
                json!({ "reason": text(20_000) }),
            ),
            (&post, format!("{CLIENT}/keys/upload"), key(1_000), key(5_000)),
            (&post, format!("{CLIENT}/keys/upload"), fallbacks(3), fallbacks(30)),
        ];
        for (method, path, fits, too_large) in too_large {
            server.request(method.clone(), &path, Some(&alice.token), Some(fits)).await.ok();
            let refused = server.request(method.clone(), &path, Some(&alice.token), Some(too_large)).await;
            assert_eq!(refused.refusal(), (413, "M_TOO_LARGE"), "{path}");
        }
        for path in [
            format!("{own}/account_data/{}", text(256)),
            format!("{own}/rooms/{room}/account_data/{}", text(5_000)),
            format!("{own}/rooms/{room}/tags/{}", text(256)),
        ] {
            assert_eq!(server.put(&path, &alice.token, json!({})).await.refusal(), (413, "M_TOO_LARGE"), "{path}");
        }
        for (field, most) in [("displayname", 256), ("avatar_url", 1_000)] {
            let path = format!("{CLIENT}/profile/{}/{field}", alice.id);
            let value = |length: usize| json!({ field: format!("mxc://{}", text(length - "mxc://".len())) });
            server.put(&path, &alice.token, value(most)).await.ok();
            assert_eq!(server.put(&path, &alice.token, value(most + 1)).await.refusal(), (400, "M_INVALID_PARAM"));
        }
        // Nothing of it harms what comes after.
        server.get(&format!("{CLIENT}/sync?timeout=0"), &alice.token).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_things_are_refused() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = room_of(&server, &alice).await;
        let own = format!("{CLIENT}/user/{}", alice.id);
        // 100 tags and versions of a backup; 16 MiB of account data; 8 MiB of filters.
        for n in 0..=100 {
            let tagged = server.put(&format!("{own}/rooms/{room}/tags/u.{n}"), &alice.token, json!({})).await;
            let backup = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {} });
            let backed_up = server.post(&format!("{CLIENT}/room_keys/version"), &alice.token, backup).await;
            for answer in [tagged, backed_up] {
                let expected = if n < 100 { 200 } else { 413 };
                assert_eq!(answer.status, expected, "{n}: {}", answer.body);
            }
        }
        // What is there can be changed and taken away.
        server.put(&format!("{own}/rooms/{room}/tags/u.5"), &alice.token, json!({ "order": 0.5 })).await.ok();
        server.delete(&format!("{own}/rooms/{room}/tags/u.6"), &alice.token).await.ok();
        server.put(&format!("{own}/rooms/{room}/tags/u.new"), &alice.token, json!({})).await.ok();
        server.delete(&format!("{CLIENT}/room_keys/version/7"), &alice.token).await.ok();
        let backup = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {} });
        server.post(&format!("{CLIENT}/room_keys/version"), &alice.token, backup).await.ok();

        let large = json!({ "a": text((1 << 20) - 100) });
        for n in 0..20 {
            let answer = server.put(&format!("{own}/account_data/large.{n}"), &alice.token, large.clone()).await;
            let expected = if n < 16 { 200 } else { 413 };
            assert_eq!(answer.status, expected, "{n}: {}", answer.body);
        }
        server.put(&format!("{own}/account_data/large.1"), &alice.token, json!({})).await.ok();
        server.put(&format!("{own}/account_data/large.19"), &alice.token, large).await.ok();

        let mut refused = 0;
        for n in 0..140 {
            let filter = json!({ "room": { "rooms": [format!("{n}{}", text(64_000))] } });
            let answer = server.post(&format!("{own}/filter"), &alice.token, filter).await;
            refused += usize::from(answer.status == 413);
        }
        assert_eq!(refused, 140 - (8 << 20) / 64_026);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_compared_with_every_event_are_bounded() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let room = room_of(&server, &alice).await;
        for (wildcards, fits) in [(200, true), (201, false)] {
            let types = json!({ "not_types": ["a*".repeat(wildcards - 1), "*b"] });
            for part in ["state", "timeline", "ephemeral", "account_data"] {
                let path = format!("{CLIENT}/user/{}/filter", alice.id);
                let filter = json!({ "room": { part: types } });
                let answer = server.post(&path, &alice.token, filter.clone()).await;
                assert!(
                    if fits { answer.status == 200 } else { answer.refusal() == (400, "M_BAD_JSON") },
                    "{answer:?}"
                );
                let path = format!("{CLIENT}/sync?filter={}", encoded(&filter));
                let answer = server.get(&path, &alice.token).await;
                assert!(
                    if fits { answer.status == 200 } else { answer.refusal() == (400, "M_INVALID_PARAM") },
                    "{answer:?}"
                );
            }
            let path = format!("{CLIENT}/rooms/{room}/messages?dir=b&filter={}", encoded(&types));
            let answer = server.get(&path, &alice.token).await;
            assert!(if fits { answer.status == 200 } else { answer.refusal() == (400, "M_NOT_JSON") }, "{answer:?}");
        }
        // Keywords without end; rooms without end cost nothing.
        let mut refused = 0;
        for n in 0..300 {
            let body = json!({ "kind": "event_match", "key": "content.body", "pattern": "a".repeat(300) });
            let of_room = json!({ "kind": "event_match", "key": "room_id", "pattern": format!("!{n}:test.example") });
            let rule = |condition: &Value| json!({ "actions": ["notify"], "conditions": [condition] });
            let path = |name: &str| format!("{CLIENT}/pushrules/global/override/{name}{n}");
            server.put(&path("room"), &alice.token, rule(&of_room)).await.ok();
            refused += usize::from(server.put(&path("body"), &alice.token, rule(&body)).await.status == 400);
        }
        assert_eq!(refused, 100, "1,000 pieces of 64 characters are 200 patterns of 300");
    }
}

fn encoded(json: &Value) -> String {
    plexus_net::percent_encode(&json.to_string()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openid_token_lasts_unless_its_user_asks_for_hundreds() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let ask = async |user: &TestUser| {
            let path = format!("{CLIENT}/user/{}/openid/request_token", user.id);
            let answer = server.post(&path, &user.token, json!({})).await;
            answer.ok()["access_token"].as_str().expect("a token").to_owned()
        };
        let who = async |token: &str| {
            let path = format!("/_matrix/federation/v1/openid/userinfo?access_token={token}");
            server.request(Method::GET, &path, None, None).await.status
        };
        let (of_alice, first_of_bob) = (ask(&alice).await, ask(&bob).await);
        let mut last_of_bob = String::new();
        for _ in 0..201 {
            last_of_bob = ask(&bob).await;
        }
        assert_eq!((who(&of_alice).await, who(&first_of_bob).await, who(&last_of_bob).await), (200, 401, 200));
    }
}
