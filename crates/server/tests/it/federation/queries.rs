//! Queries of other servers about users and rooms.

use http::Method;
use plexus_testkit::{Peer, TestPlace, TestServer};
use serde_json::json;

const OPEN: &str = "
allow_public_rooms_over_federation: true
allow_device_name_lookup_over_federation: true
room_list_publication_rules: [{action: allow}]";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_believed_if_its_server_signed_it() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let path = "/_matrix/federation/v1/query/whatever?a=%2Fb";
    let answer = peer.get(&server, path).await;
    assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"), "the signature is right, the question unknown");
    let keys = peer.received();
    assert_eq!(keys.iter().map(|request| request.uri.as_str()).collect::<Vec<_>>(), ["/_matrix/key/v2/server"]);

    // Another path, and another server's name on the same signature.
    let authorization = peer.authorization(&server, &Method::GET, path, None);
    let send = async |path: &str, authorization: &str| {
        server.send(Method::GET, path, None, &[("Authorization", authorization)], Default::default()).await
    };
    let other_path = send("/_matrix/federation/v1/query/other", &authorization).await;
    assert_eq!(other_path.refusal(), (401, "M_UNAUTHORIZED"));
    let liar = Peer::start().await;
    let stolen = authorization.replace(peer.name().as_str(), liar.name().as_str());
    assert_eq!(send(path, &stolen).await.refusal(), (401, "M_UNAUTHORIZED"));
    let elsewhere = authorization.replace("test.example", "else.example");
    assert_eq!(send(path, &elsewhere).await.refusal(), (401, "M_UNAUTHORIZED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_servers_on_the_whitelist_are_spoken_with() {
    let server = TestServer::on(TestPlace::sqlite()).config("federation_domain_whitelist: [a.example]").start().await;
    let peer = Peer::start().await;
    let answer = peer.get(&server, "/_matrix/federation/v1/query/profile?user_id=@a:test.example").await;
    assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
    assert!(peer.received().is_empty(), "its key need not be known");
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let alice = server.register("alice").await;
    let set = format!("/_matrix/client/v3/profile/{}/displayname", alice.id);
    server.put(&set, &alice.token, json!({ "displayname": "Alice" })).await.ok();
    let ask = async |query: &str| peer.get(&server, &format!("/_matrix/federation/v1/query/profile?{query}")).await;
    assert_eq!(ask("user_id=%40alice%3Atest.example").await.ok(), &json!({ "displayname": "Alice" }));
    assert_eq!(ask("user_id=@alice:test.example&field=displayname").await.ok(), &json!({ "displayname": "Alice" }));
    assert_eq!(ask("user_id=@alice:test.example&field=avatar_url").await.ok(), &json!({}));
    assert_eq!(ask("user_id=@nobody:test.example").await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(ask("user_id=@alice:else.example").await.refusal(), (400, "M_UNKNOWN"));
    assert_eq!(ask("").await.refusal(), (400, "M_MISSING_PARAM"));

    let config = "allow_profile_lookup_over_federation: false";
    let silent = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let answer = peer.get(&silent, "/_matrix/federation/v1/query/profile?user_id=@alice:test.example").await;
    assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_and_the_room_directory() {
    let server = TestServer::on(TestPlace::sqlite()).config(OPEN).start().await;
    let peer = Peer::start().await;
    let alice = server.register("alice").await;
    let create = async |name: &str| {
        let room = json!({ "room_alias_name": name, "name": name, "visibility": "public", "preset": "public_chat" });
        let made = server.post("/_matrix/client/v3/createRoom", &alice.token, room).await;
        made.ok()["room_id"].as_str().unwrap_or_default().to_owned()
    };
    let (tea, coffee) = (create("tea").await, create("coffee").await);

    let ask = async |alias: &str| {
        peer.get(&server, &format!("/_matrix/federation/v1/query/directory?room_alias=%23{alias}")).await
    };
    assert_eq!(ask("tea:test.example").await.ok(), &json!({ "room_id": tea, "servers": ["test.example"] }));
    assert_eq!(ask("cocoa:test.example").await.refusal(), (404, "M_NOT_FOUND"));
    assert_eq!(ask("tea:else.example").await.refusal(), (400, "M_UNKNOWN"));

    let page = peer.get(&server, "/_matrix/federation/v1/publicRooms?limit=1").await;
    let (first, next) = (&page.ok()["chunk"][0]["room_id"], &page.body["next_batch"]);
    assert_eq!(page.body["total_room_count_estimate"], 2);
    let path = format!("/_matrix/federation/v1/publicRooms?limit=1&since={}", next.as_str().unwrap_or_default());
    let second = peer.get(&server, &path).await;
    assert_ne!(first, &second.ok()["chunk"][0]["room_id"]);
    let filter = json!({ "filter": { "generic_search_term": "COFFEE" } });
    let found = peer.post(&server, "/_matrix/federation/v1/publicRooms", filter).await;
    assert_eq!(
        (found.ok()["chunk"].as_array().map(Vec::len), &found.body["chunk"][0]["room_id"]),
        (Some(1), &json!(coffee))
    );

    let closed = TestServer::sqlite().await;
    let refused = peer.get(&closed, "/_matrix/federation/v1/publicRooms").await;
    assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_and_their_keys() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(OPEN).start().await;
        let peer = Peer::start().await;
        let alice = server.register("alice").await;
        let device = alice.device_id.as_str();
        let keys = json!({
            "user_id": alice.id, "device_id": device, "algorithms": [], "signatures": {},
            "keys": { format!("ed25519:{device}"): "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw" },
        });
        let one_time = json!({ "signed_curve25519:AAAA": { "key": "x", "signatures": {} } });
        let upload = json!({ "device_keys": keys, "one_time_keys": one_time });
        server.post("/_matrix/client/v3/keys/upload", &alice.token, upload).await.ok();
        let name = json!({ "display_name": "Telephone" });
        server.put(&format!("/_matrix/client/v3/devices/{device}"), &alice.token, name).await.ok();

        let list = peer.get(&server, "/_matrix/federation/v1/user/devices/%40alice%3Atest.example").await;
        assert_eq!(list.ok()["user_id"], json!(alice.id));
        assert!(list.body["stream_id"].as_i64().is_some_and(|id| id > 0), "{:?}", list.body);
        assert_eq!(
            list.body["devices"],
            json!([{ "device_id": device, "device_display_name": "Telephone", "keys": keys }])
        );
        let unknown = peer.get(&server, "/_matrix/federation/v1/user/devices/@nobody:test.example").await;
        assert_eq!(unknown.refusal(), (404, "M_NOT_FOUND"));

        let wanted = json!({ "device_keys": { &alice.id: [], "@nobody:else.example": [] } });
        let found = peer.post(&server, "/_matrix/federation/v1/user/keys/query", wanted).await;
        assert_eq!(found.ok()["device_keys"][&alice.id][device]["keys"], keys["keys"]);
        assert_eq!(found.body["device_keys"].as_object().map(|users| users.len()), Some(1));

        let claim = json!({ "one_time_keys": { &alice.id: { device: "signed_curve25519" } } });
        let claimed = peer.post(&server, "/_matrix/federation/v1/user/keys/claim", claim.clone()).await;
        assert_eq!(claimed.ok()["one_time_keys"][&alice.id][device], one_time);
        let again = peer.post(&server, "/_matrix/federation/v1/user/keys/claim", claim).await;
        assert_eq!(again.ok(), &json!({ "one_time_keys": {} }), "a one-time key is given out once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_devices_are_nobodys_business() {
    let server = TestServer::sqlite().await;
    let peer = Peer::start().await;
    let alice = server.register("alice").await;
    let device = alice.device_id.as_str();
    let keys = json!({
        "user_id": alice.id, "device_id": device, "algorithms": [], "signatures": {},
        "keys": { format!("ed25519:{device}"): "Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw" },
    });
    server.post("/_matrix/client/v3/keys/upload", &alice.token, json!({ "device_keys": keys })).await.ok();
    let name = json!({ "display_name": "Telephone" });
    server.put(&format!("/_matrix/client/v3/devices/{device}"), &alice.token, name).await.ok();
    let list = peer.get(&server, "/_matrix/federation/v1/user/devices/@alice:test.example").await;
    assert_eq!(list.ok()["devices"], json!([{ "device_id": device, "keys": keys }]));
    let wanted = json!({ "device_keys": { &alice.id: [] } });
    let found = peer.post(&server, "/_matrix/federation/v1/user/keys/query", wanted).await;
    assert_eq!(found.ok()["device_keys"][&alice.id][device], keys);
}
