//! `POST /keys/device_signing/upload`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::keys::cross_signing;
use crate::client::with_password;

#[tokio::test]
async fn cross_signing_keys_are_replaced_only_with_authentication() {
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let path = "/_matrix/client/v3/keys/device_signing/upload";
        let keys = |master: u8| {
            json!({
                "master_key": cross_signing(&alice, "master", master, None),
                "self_signing_key": cross_signing(&alice, "self_signing", 50, Some(master)),
                "user_signing_key": cross_signing(&alice, "user_signing", 60, Some(master)),
            })
        };
        let mut unsigned = keys(1);
        unsigned["self_signing_key"] = cross_signing(&alice, "self_signing", 50, Some(2));
        assert_eq!(server.post(path, &alice.token, unsigned).await.refusal(), (400, "M_INVALID_SIGNATURE"));
        let alone = json!({ "self_signing_key": cross_signing(&alice, "self_signing", 50, Some(1)) });
        assert_eq!(server.post(path, &alice.token, alone).await.refusal(), (400, "M_MISSING_PARAM"));
        server.post(path, &alice.token, keys(1)).await.ok();
        server.post(path, &alice.token, keys(1)).await.ok();
        let first = server.post(path, &alice.token, keys(2)).await;
        assert_eq!(first.status, 401);
        server.post(path, &alice.token, with_password(&alice, &first.body["session"], keys(2))).await.ok();
        let query = json!({ "device_keys": { &alice.id: [] } });
        let found = server.post("/_matrix/client/v3/keys/query", &alice.token, query).await;
        assert_eq!(found.ok()["master_keys"][&alice.id], cross_signing(&alice, "master", 2, None));

        let signatures = json!({ &alice.id: { "NOPE": {} }, "@bob:test.example": { "x": [] } });
        let answer = server.post("/_matrix/client/v3/keys/signatures/upload", &alice.token, signatures).await;
        assert_eq!(answer.ok()["failures"][&alice.id]["NOPE"]["errcode"], "M_NOT_FOUND");
        assert_eq!(answer.ok()["failures"]["@bob:test.example"]["x"]["errcode"], "M_INVALID_PARAM");
    }
}
