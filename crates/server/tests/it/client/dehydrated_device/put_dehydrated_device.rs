//! `PUT`, `GET` and `DELETE /dehydrated_device`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use super::{PATH, dehydrate, request, send, servers};
use crate::client::{CLIENT, LOGIN, password_login, post_unauthenticated};

#[tokio::test]
async fn a_dehydrated_device_is_stored_with_its_keys_replaced_and_deleted() {
    for server in servers().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        assert_eq!(server.get(PATH, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(server.delete(PATH, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        dehydrate(&server, &alice, "FIRST").await;
        let stored = server.get(PATH, &alice.token).await;
        let expected = json!({ "device_id": "FIRST", "device_data": request(&alice, "FIRST")["device_data"] });
        assert_eq!(stored.ok(), &expected);
        assert_eq!(server.get(PATH, &bob.token).await.refusal(), (404, "M_NOT_FOUND"));

        let keys = async || {
            let query = json!({ "device_keys": { &alice.id: [] } });
            let found = server.post(&format!("{CLIENT}/keys/query"), &bob.token, query).await;
            found.ok()["device_keys"][&alice.id].clone()
        };
        assert_eq!(keys().await["FIRST"]["dehydrated"], json!(true));
        assert_eq!(keys().await["FIRST"]["unsigned"]["device_display_name"], json!("Dehydrated device"));
        let claim = json!({ "one_time_keys": { &alice.id: { "FIRST": "signed_curve25519" } } });
        for expected in ["one", "last", "last"] {
            let claimed = server.post(&format!("{CLIENT}/keys/claim"), &bob.token, claim.clone()).await;
            let keys = claimed.ok()["one_time_keys"][&alice.id]["FIRST"].as_object().unwrap();
            assert_eq!(keys.values().next().unwrap()["key"], json!(expected));
        }

        // The next one takes its place, also under the same id.
        send(&server, &bob, &alice, 1).await;
        dehydrate(&server, &alice, "SECOND").await;
        assert_eq!(server.get(PATH, &alice.token).await.ok()["device_id"], json!("SECOND"));
        assert_eq!((keys().await.get("FIRST"), keys().await["SECOND"].is_object()), (None, true));
        send(&server, &bob, &alice, 2).await;
        dehydrate(&server, &alice, "SECOND").await;
        let events = server.get(&format!("{PATH}/SECOND/events"), &alice.token).await;
        assert_eq!(events.ok(), &json!({ "events": [] }));

        assert_eq!(server.delete(PATH, &alice.token).await.ok(), &json!({ "device_id": "SECOND" }));
        assert_eq!(server.get(PATH, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(keys().await.get("SECOND"), None);
    }
}

#[tokio::test]
async fn an_ordinary_device_is_never_taken_for_a_dehydrated_one() {
    for server in servers().await {
        let alice = server.register("alice").await;
        dehydrate(&server, &alice, "AWAY").await;
        let own = server.put(PATH, &alice.token, request(&alice, &alice.device_id)).await;
        assert_eq!(own.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(server.get(PATH, &alice.token).await.ok()["device_id"], json!("AWAY"));

        // Whoever logs in with its id makes an ordinary device of it.
        let login = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "password of alice", "device_id": "AWAY",
        });
        let login = post_unauthenticated(&server, LOGIN, login).await;
        let token = login.ok()["access_token"].as_str().unwrap();
        assert_eq!(server.get(PATH, token).await.refusal(), (404, "M_NOT_FOUND"));
        dehydrate(&server, &alice, "OTHER").await;
        assert_eq!(server.get(&format!("{CLIENT}/account/whoami"), token).await.ok()["device_id"], json!("AWAY"));

        // Logging out everywhere deletes it, too.
        server.post(&format!("{CLIENT}/logout/all"), token, json!({})).await.ok();
        let again = post_unauthenticated(&server, LOGIN, password_login("alice", "password of alice")).await;
        let token = again.ok()["access_token"].as_str().unwrap();
        assert_eq!(server.get(PATH, token).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test]
async fn what_is_no_dehydrated_device_is_refused() {
    for server in servers().await {
        let alice = server.register("alice").await;
        let good = request(&alice, "AWAY");
        let without = |field: &str| {
            let mut request = good.clone();
            request.as_object_mut().unwrap().remove(field);
            request
        };
        let with = |field: &str, value| {
            let mut request = good.clone();
            request[field] = value;
            request
        };
        let large = json!({ "algorithm": "x", "device_pickle": "x".repeat(64 * 1024) });
        for (body, expected) in [
            (without("device_id"), (400, "M_MISSING_PARAM")),
            (without("device_data"), (400, "M_MISSING_PARAM")),
            (without("device_keys"), (400, "M_MISSING_PARAM")),
            (with("device_data", json!({})), (400, "M_MISSING_PARAM")),
            (with("device_data", json!({ "algorithm": 1 })), (400, "M_BAD_JSON")),
            (with("device_data", json!("text")), (400, "M_BAD_JSON")),
            (with("device_data", large), (413, "M_TOO_LARGE")),
            (with("device_id", json!("OTHER")), (400, "M_INVALID_PARAM")),
            (with("device_id", json!(1)), (400, "M_BAD_JSON")),
            (with("device_keys", json!({})), (400, "M_INVALID_PARAM")),
            (with("one_time_keys", json!({ "x": 1 })), (400, "M_INVALID_PARAM")),
            (request(&alice, ""), (400, "M_INVALID_PARAM")),
            (request(&alice, &"x".repeat(513)), (400, "M_INVALID_PARAM")),
        ] {
            assert_eq!(server.put(PATH, &alice.token, body.clone()).await.refusal(), expected, "{body}");
        }
        assert_eq!(server.get(PATH, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test]
async fn without_the_option_there_is_no_such_endpoint() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    assert_eq!(server.get(PATH, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
    assert_eq!(server.put(PATH, &alice.token, request(&alice, "A")).await.refusal(), (404, "M_UNRECOGNIZED"));
    assert_eq!(server.delete(PATH, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
    let events = format!("{PATH}/A/events");
    assert_eq!(server.get(&events, &alice.token).await.refusal(), (404, "M_UNRECOGNIZED"));
    assert_eq!(server.post(&events, &alice.token, json!({})).await.refusal(), (404, "M_UNRECOGNIZED"));
}
