//! `GET /query/{server_name}`.

use http::Method;
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::json::Object;
use plexus_testkit::{Peer, TestServer};
use serde_json::json;

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
