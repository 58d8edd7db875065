//! The data about this server that any server may request.

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::json::Object;
use plexus_testkit::{Peer, TestPlace, TestServer};
use serde_json::json;

#[tokio::test]
async fn the_version() {
    let server = TestServer::sqlite().await;
    let answer = server.request(Method::GET, "/_matrix/federation/v1/version", None, None).await;
    assert_eq!(answer.ok()["server"]["name"], "Plexus");
    assert!(answer.body["server"]["version"].is_string());
}

#[tokio::test]
async fn delegation_to_port_443() {
    let path = "/.well-known/matrix/server";
    let server = TestServer::sqlite().await;
    assert_eq!(server.request(Method::GET, path, None, None).await.refusal(), (404, "M_NOT_FOUND"));
    let server = TestServer::on(TestPlace::sqlite()).config("serve_server_wellknown: true").start().await;
    let answer = server.request(Method::GET, path, None, None).await;
    assert_eq!(answer.ok(), &json!({ "m.server": "test.example:443" }));
}

#[tokio::test]
async fn keys_are_published_signed_and_renewed() {
    let config = "
key_refresh_interval: 1h
old_signing_keys: {'ed25519:old': {key: 'Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw', expired_ts: 1576767829750}}";
    let clock = Clock::manual(1_700_000_000_000);
    let server = TestServer::on(TestPlace::sqlite()).config(config).clock(clock.clone()).start().await;
    let ask = async |path: &str| {
        let answer = server.request(Method::GET, path, None, None).await;
        answer.ok();
        Object::parse(std::str::from_utf8(&answer.bytes).unwrap()).unwrap()
    };
    let keys = ask("/_matrix/key/v2/server").await;
    assert_eq!(keys.get_str("server_name"), Some("test.example"));
    assert_eq!(keys.get_i64("valid_until_ts"), Some(1_700_003_600_000));
    let (key_id, key) = keys.get_object("verify_keys").unwrap().iter().next().unwrap();
    let key = PublicKey::parse(key.as_object().unwrap().get_str("key").unwrap()).unwrap();
    assert!(key.verify_object(&keys, "test.example", key_id));
    let old = keys.get_object("old_verify_keys").unwrap().get_object("ed25519:old").unwrap();
    assert_eq!(
        (old.get_str("key"), old.get_i64("expired_ts")),
        (Some("Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw"), Some(1_576_767_829_750))
    );

    clock.advance(Duration::from_secs(31 * 60));
    let later = ask("/_matrix/key/v2/server/ed25519:anything").await;
    assert_eq!(later.get_i64("valid_until_ts"), Some(1_700_005_460_000));
}

#[tokio::test]
async fn an_openid_token_tells_who_asked_for_it() {
    let clock = Clock::manual(1_700_000_000_000);
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).clock(clock.clone()).start().await;
        let alice = server.register("alice").await;
        let userinfo = async |query: &str| {
            server.request(Method::GET, &format!("/_matrix/federation/v1/openid/userinfo{query}"), None, None).await
        };
        assert_eq!(userinfo("").await.refusal(), (401, "M_MISSING_TOKEN"));
        assert_eq!(userinfo(&format!("?access_token={}", alice.token)).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
        let path = format!("/_matrix/client/v3/user/{}/openid/request_token", alice.id);
        let issued = server.post(&path, &alice.token, json!({})).await;
        assert_eq!(
            (&issued.ok()["expires_in"], &issued.ok()["matrix_server_name"]),
            (&json!(3600), &json!("test.example"))
        );
        let query = format!("?access_token={}", issued.body["access_token"].as_str().unwrap_or_default());
        assert_eq!(userinfo(&query).await.ok(), &json!({ "sub": alice.id }));
        clock.advance(Duration::from_secs(3601));
        assert_eq!(userinfo(&query).await.refusal(), (401, "M_UNKNOWN_TOKEN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_servers_are_vouched_for() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let own = server.request(Method::GET, "/_matrix/key/v2/server", None, None).await;
    let own = Object::parse(&own.ok().to_string()).unwrap();
    let (own_id, own_key) = own.get_object("verify_keys").unwrap().iter().next().unwrap();
    let own_key = PublicKey::parse(own_key.as_object().unwrap().get_str("key").unwrap()).unwrap();

    let path = format!("/_matrix/key/v2/query/{}", peer.name());
    let vouched = server.request(Method::GET, &path, None, None).await;
    let vouched = Object::parse(&vouched.ok()["server_keys"][0].to_string()).unwrap();
    assert!(peer.key().public_key().verify_object(&vouched, peer.name().as_str(), peer.key().key_id()));
    assert!(own_key.verify_object(&vouched, "test.example", own_id));

    let ask = async |key_id: &str, until: u64| {
        let criteria = json!({ key_id: { "minimum_valid_until_ts": until } });
        let body = json!({ "server_keys": { peer.name().as_str(): criteria, "test.example": {} } });
        let answer = server.request(Method::POST, "/_matrix/key/v2/query", None, Some(body)).await;
        answer.ok()["server_keys"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(ask(peer.key().key_id(), 0).await, 2);
    assert_eq!(ask("ed25519:none", 0).await, 1, "this server's own");
}
