//! Application services as users of the client-server API: the users that they act for, and what is theirs alone.

use http::Method;
use plexus_testkit::app_service::registration;
use plexus_testkit::places;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::keys::cross_signing;
use crate::client::{LOGIN, WHOAMI, create, post_unauthenticated, room_path};

const REGISTER: &str = "/_matrix/client/v3/register";
const IRC: &str = "from-irc";

/// A server with an application service `irc` and another one, `other`, neither of which receives anything.
async fn servers(more: &str) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        let irc = registration("irc", "null", more);
        let other = registration("other", "null", "");
        servers.push(TestServer::on(place).app_service(irc).app_service(other).start().await);
    }
    servers
}

async fn register(server: &TestServer, name: &str, more: Value) -> plexus_testkit::Answer {
    let mut body = json!({ "type": "m.login.application_service", "username": name });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post(REGISTER, IRC, body).await
}

#[tokio::test]
async fn a_service_acts_as_its_users() {
    for server in servers("").await {
        let own = server.get(WHOAMI, IRC).await;
        assert_eq!((&own.ok()["user_id"], own.body.get("device_id")), (&json!("@ircbot:test.example"), None));
        let in_query = format!("{WHOAMI}?access_token={IRC}");
        assert_eq!(server.request(Method::GET, &in_query, None, None).await.ok()["user_id"], "@ircbot:test.example");
        assert_eq!(server.get(WHOAMI, "to-irc").await.refusal(), (401, "M_UNKNOWN_TOKEN"));

        let as_bob = format!("{WHOAMI}?user_id=%40irc_bob%3Atest.example");
        assert_eq!(server.get(&as_bob, IRC).await.refusal(), (403, "M_FORBIDDEN"));
        register(&server, "irc_bob", json!({ "inhibit_login": true })).await.ok();
        assert_eq!(server.get(&as_bob, IRC).await.ok()["user_id"], "@irc_bob:test.example");
        for unreadable in ["user_id=%FF", "device_id=%FF", "device_id=A&org.matrix.msc3202.device_id=%FF"] {
            let refusal = server.get(&format!("{WHOAMI}?{unreadable}"), IRC).await;
            assert_eq!(refusal.refusal(), (400, "M_INVALID_PARAM"), "{unreadable}");
        }
        server.register("alice").await;
        let as_alice = format!("{WHOAMI}?user_id=@alice:test.example");
        assert_eq!(server.get(&as_alice, IRC).await.refusal(), (403, "M_FORBIDDEN"));
        let by_other = server.get(&as_bob, "from-other").await;
        assert_eq!(by_other.refusal(), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn a_service_acts_as_a_device() {
    for server in servers("").await {
        let login = register(&server, "irc_bob", json!({ "device_id": "DEV" })).await;
        assert_eq!(login.ok()["device_id"], "DEV");
        let token = login.body["access_token"].as_str().unwrap();
        assert_eq!(server.get(WHOAMI, token).await.ok()["user_id"], "@irc_bob:test.example");
        for parameter in ["device_id", "org.matrix.msc3202.device_id"] {
            let of = |device: &str| format!("{WHOAMI}?user_id=@irc_bob:test.example&{parameter}={device}");
            assert_eq!(server.get(&of("DEV"), IRC).await.ok()["device_id"], "DEV", "{parameter}");
            assert_eq!(server.get(&of("NOPE"), IRC).await.refusal(), (400, "M_UNKNOWN_DEVICE"));
        }
    }
}

#[tokio::test]
async fn services_register_and_log_in_their_users() {
    for server in servers("").await {
        let unauthenticated = json!({ "type": "m.login.application_service", "username": "irc_x" });
        let answer = server.request(Method::POST, REGISTER, None, Some(unauthenticated.clone())).await;
        assert_eq!(answer.refusal(), (401, "M_MISSING_TOKEN"));
        assert_eq!(server.post(REGISTER, "wrong", unauthenticated).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        assert_eq!(register(&server, "alice", json!({})).await.refusal(), (400, "M_EXCLUSIVE"));
        assert_eq!(register(&server, "other_x", json!({})).await.refusal(), (400, "M_EXCLUSIVE"));
        assert_eq!(register(&server, "irc_:x", json!({})).await.refusal().0, 400);
        let nameless = json!({ "type": "m.login.application_service" });
        assert_eq!(server.post(REGISTER, IRC, nameless).await.refusal(), (400, "M_MISSING_PARAM"));
        register(&server, "irc_Bob", json!({ "inhibit_login": true })).await.ok();
        assert_eq!(register(&server, "irc_Bob", json!({})).await.refusal(), (400, "M_USER_IN_USE"));

        let flows = server.request(Method::GET, LOGIN, None, None).await;
        let flows = flows.ok()["flows"].as_array().unwrap().clone();
        assert!(flows.contains(&json!({ "type": "m.login.application_service" })), "{flows:?}");
        let log_in = |user: &str| {
            let identifier = json!({ "type": "m.id.user", "user": user });
            json!({ "type": "m.login.application_service", "identifier": identifier })
        };
        let session = server.post(LOGIN, IRC, log_in("irc_Bob")).await;
        assert_eq!(session.ok()["user_id"], "@irc_Bob:test.example");
        for user in ["alice", "irc_nobody", "@irc_Bob:elsewhere.example"] {
            assert_eq!(server.post(LOGIN, IRC, log_in(user)).await.refusal(), (403, "M_FORBIDDEN"), "{user}");
        }
        assert_eq!(post_unauthenticated(&server, LOGIN, log_in("irc_Bob")).await.refusal(), (401, "M_MISSING_TOKEN"));
    }
}

#[tokio::test]
async fn what_a_service_claims_is_its_own() {
    for server in servers("").await {
        let alice = server.register("alice").await;
        let available = server.get("/_matrix/client/v3/register/available?username=irc_eve", &alice.token).await;
        assert_eq!(available.refusal(), (400, "M_EXCLUSIVE"));
        let body = json!({ "username": "irc_eve", "password": "secret", "auth": { "type": "m.login.dummy" } });
        assert_eq!(post_unauthenticated(&server, REGISTER, body).await.refusal(), (400, "M_EXCLUSIVE"));

        let room = create(&server, &alice, json!({})).await;
        let alias = |name: &str| format!("/_matrix/client/v3/directory/room/%23{name}:test.example");
        let body = json!({ "room_id": room });
        let refusal = (400, "M_EXCLUSIVE");
        assert_eq!(server.put(&alias("irc_x"), &alice.token, body.clone()).await.refusal(), refusal);
        assert_eq!(server.put(&alias("irc_x"), "from-other", body.clone()).await.refusal(), refusal);
        assert_eq!(server.put(&alias("free"), IRC, body.clone()).await.refusal(), refusal);
        server.put(&alias("irc_x"), IRC, body).await.ok();
        assert_eq!(server.delete(&alias("irc_x"), &alice.token).await.refusal(), refusal);
        server.delete(&alias("irc_x"), IRC).await.ok();
        let reserved = json!({ "room_alias_name": "irc_y" });
        let created = server.post("/_matrix/client/v3/createRoom", &alice.token, reserved.clone()).await;
        assert_eq!(created.refusal(), refusal);
        server.post("/_matrix/client/v3/createRoom", IRC, reserved).await.ok();
    }
}

#[tokio::test]
async fn services_send_once_and_at_a_time_of_their_choice() {
    for server in servers("").await {
        let created = server.post("/_matrix/client/v3/createRoom", IRC, json!({})).await;
        let room = created.ok()["room_id"].as_str().unwrap().to_owned();
        let send = async |query: &str| {
            let path = room_path(&room, &format!("send/m.room.message/1?{query}"));
            server.put(&path, IRC, json!({ "msgtype": "m.text", "body": "hi" })).await
        };
        let event = send("ts=1234567").await.ok()["event_id"].as_str().unwrap().to_owned();
        assert_eq!(send("ts=1234567").await.ok()["event_id"], event.as_str());
        let shown = server.get(&room_path(&room, &format!("event/{event}")), IRC).await;
        assert_eq!(shown.ok()["origin_server_ts"], 1_234_567);
        assert_eq!(send("ts=-1").await.refusal(), (400, "M_INVALID_PARAM"));
        let topic = room_path(&room, "state/m.room.topic?ts=99");
        let event = server.put(&topic, IRC, json!({ "topic": "x" })).await.ok()["event_id"].clone();
        let shown = server.get(&room_path(&room, &format!("event/{}", event.as_str().unwrap())), IRC).await;
        assert_eq!(shown.ok()["origin_server_ts"], 99);
        // Member events among the state, too, as in Synapse.
        register(&server, "irc_bob", json!({ "inhibit_login": true })).await.ok();
        for (membership, sender, ts) in [("invite", "ircbot", 55), ("join", "irc_bob", 66), ("leave", "irc_bob", 77)] {
            let member = format!("state/m.room.member/@irc_bob:test.example?user_id=@{sender}:test.example&ts={ts}");
            let sent = server.put(&room_path(&room, &member), IRC, json!({ "membership": membership })).await;
            let event = sent.ok()["event_id"].as_str().unwrap().to_owned();
            let shown = server.get(&room_path(&room, &format!("event/{event}")), IRC).await;
            assert_eq!(
                (&shown.ok()["origin_server_ts"], shown.ok()["content"]["membership"].as_str()),
                (&json!(ts), Some(membership))
            );
        }

        let alice = server.register("alice").await;
        let room = create(&server, &alice, json!({})).await;
        let path = room_path(&room, "send/m.room.message/1?ts=5");
        let event =
            server.put(&path, &alice.token, json!({ "msgtype": "m.text", "body": "x" })).await.ok()["event_id"].clone();
        let shown = server.get(&room_path(&room, &format!("event/{}", event.as_str().unwrap())), &alice.token).await;
        assert_ne!(shown.ok()["origin_server_ts"], 5);
    }
}

#[tokio::test]
async fn services_that_manage_devices_need_no_login() {
    for server in servers("io.element.msc4190: true").await {
        let unsupported = (400, "M_APPSERVICE_LOGIN_UNSUPPORTED");
        assert_eq!(register(&server, "irc_bob", json!({})).await.refusal(), unsupported);
        let registered = register(&server, "irc_bob", json!({ "inhibit_login": true })).await;
        assert_eq!((registered.ok().get("access_token"), registered.body.get("device_id")), (None, None));
        let identifier = json!({ "type": "m.id.user", "user": "irc_bob" });
        let login = json!({ "type": "m.login.application_service", "identifier": identifier });
        assert_eq!(server.post(LOGIN, IRC, login).await.refusal(), unsupported);
        let device = "/_matrix/client/v3/devices/BRIDGE?user_id=@irc_bob:test.example";
        let named = |name: &str| json!({ "display_name": name });
        assert_eq!(server.put(device, IRC, named("Bridge")).await.status, 201);
        assert_eq!(server.put(device, IRC, named("Renamed")).await.status, 200);
        assert_eq!(server.get(device, IRC).await.ok()["display_name"], "Renamed");
        assert_eq!(server.put(device, IRC, named(&"x".repeat(101))).await.refusal(), (400, "M_TOO_LARGE"));
        let acting = format!("{WHOAMI}?user_id=@irc_bob:test.example&device_id=BRIDGE");
        assert_eq!(server.get(&acting, IRC).await.ok()["device_id"], "BRIDGE");
        let deleted = server.delete(device, IRC).await;
        deleted.ok();
        assert_eq!(server.get(device, IRC).await.refusal(), (404, "M_NOT_FOUND"));
        let one = server.put("/_matrix/client/v3/devices/NEW", "from-other", json!({})).await;
        assert_eq!(one.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test]
async fn rate_limits_do_not_apply_to_services_that_are_exempt() {
    let slow = "rc_message: {per_second: 0.001, burst_count: 1}\nmax_event_delay_duration: 1h\n";
    for place in places() {
        let exempt = registration("irc", "null", "rate_limited: false");
        let limited = registration("other", "null", "");
        let server = TestServer::on(place).config(slow).app_service(exempt).app_service(limited).start().await;
        for (token, user, is_limited) in
            [(IRC, "irc_a", false), ("from-other", "other_a", true), ("from-other", "otherbot", false)]
        {
            let body = json!({ "type": "m.login.application_service", "username": user, "inhibit_login": true });
            server.post(REGISTER, token, body).await;
            let query = format!("user_id=@{user}:test.example");
            let created = server.post(&format!("/_matrix/client/v3/createRoom?{query}"), token, json!({})).await;
            let room = created.ok()["room_id"].as_str().unwrap().to_owned();
            let mut last = 0;
            for txn in 0..4 {
                let path = room_path(&room, &format!("send/m.room.message/{txn}?{query}"));
                last = server.put(&path, token, json!({ "msgtype": "m.text", "body": "x" })).await.status;
            }
            assert_eq!(last, if is_limited { 429 } else { 200 }, "{user}");
            let path = room_path(&room, &format!("send/m.room.message/d?{query}&org.matrix.msc4140.delay=100000"));
            let delayed = server.put(&path, token, json!({ "msgtype": "m.text", "body": "x" })).await.status;
            assert_eq!(delayed, last, "{user}");
        }
    }
}

#[tokio::test]
async fn exempt_services_register_users_where_others_have_reached_the_limit() {
    let slow = "{per_second: 0.001, burst_count: 1}";
    let config = format!("rc_registration: {slow}\nrc_login: {{address: {slow}, account: {slow}}}\n");
    for place in places() {
        let exempt = registration("irc", "null", "rate_limited: false");
        let limited = registration("other", "null", "");
        let server = TestServer::on(place).config(&config).app_service(exempt).app_service(limited).start().await;
        // All come from one address.
        server.register("alice").await;
        server.log_in("alice").await;
        for number in 0..2 {
            let name = format!("irc_{number}");
            register(&server, &name, json!({ "inhibit_login": true })).await.ok();
            for _ in 0..2 {
                let identifier = json!({ "type": "m.id.user", "user": name });
                let login = json!({ "type": "m.login.application_service", "identifier": identifier });
                server.post(LOGIN, IRC, login).await.ok();
            }
        }
        let body = json!({ "type": "m.login.application_service", "username": "other_1", "inhibit_login": true });
        assert_eq!(server.post(REGISTER, "from-other", body).await.status, 429);
    }
}

#[tokio::test]
async fn users_of_services_are_not_in_the_user_directory() {
    for place in places() {
        let config = "user_directory: {search_all_users: true}";
        let server = TestServer::on(place).config(config).app_service(registration("irc", "null", "")).start().await;
        register(&server, "irc_bob", json!({ "inhibit_login": true })).await.ok();
        let (alice, _) = (server.register("alice").await, server.register("irma").await);
        let search = json!({ "search_term": "ir" });
        let found = server.post("/_matrix/client/v3/user_directory/search", &alice.token, search).await;
        let ids: Vec<&Value> = found.ok()["results"].as_array().unwrap().iter().map(|user| &user["user_id"]).collect();
        assert_eq!(ids, ["@irma:test.example"]);
    }
}

#[tokio::test]
async fn a_service_replaces_cross_signing_keys_of_its_users() {
    for server in servers("").await {
        register(&server, "irc_bob", json!({ "inhibit_login": true })).await.ok();
        let path = "/_matrix/client/v3/keys/device_signing/upload?user_id=@irc_bob:test.example";
        let bob = TestUser { id: "@irc_bob:test.example".to_owned(), token: IRC.to_owned(), device_id: String::new() };
        for seed in [1, 2] {
            let master = cross_signing(&bob, "master", seed, None);
            server.post(path, IRC, json!({ "master_key": master })).await.ok();
        }
    }
}
