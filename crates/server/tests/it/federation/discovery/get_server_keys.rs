//! `GET /_matrix/key/v2/server`.

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::json::Object;
use plexus_testkit::{TestPlace, TestServer};

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
