//! `POST /register`.

use plexus_testkit::TestPlace;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::{REGISTER, WHOAMI, get_unauthenticated, post_unauthenticated};

#[tokio::test]
async fn registration_in_two_steps() {
    for server in TestServer::on_each().await {
        let body = json!({ "username": "alice", "password": "secret", "initial_device_display_name": "Phone" });
        let first = post_unauthenticated(&server, REGISTER, body.clone()).await;
        assert_eq!(first.status, 401);
        assert_eq!(first.body["flows"], json!([{ "stages": ["m.login.dummy"] }]));
        assert_eq!(first.body["params"], json!({}));
        let mut body = body;
        body["auth"] = json!({ "type": "m.login.dummy", "session": first.body["session"] });
        let answer = post_unauthenticated(&server, REGISTER, body.clone()).await;
        let registered = answer.ok();
        assert_eq!(registered["user_id"], "@alice:test.example");
        assert_eq!(registered["home_server"], "test.example");
        let token = registered["access_token"].as_str().unwrap();
        let me = server.get(WHOAMI, token).await;
        let expected = json!({
            "user_id": "@alice:test.example", "device_id": registered["device_id"], "is_guest": false,
        });
        assert_eq!(me.ok(), &expected);
        let devices = server.get("/_matrix/client/v3/devices", token).await;
        assert_eq!(devices.ok()["devices"][0]["display_name"], "Phone");

        // The same session again: the answer got lost.
        let again = post_unauthenticated(&server, REGISTER, body).await;
        assert_eq!(again.ok()["user_id"], "@alice:test.example");
        let taken = post_unauthenticated(&server, REGISTER, json!({ "username": "Alice", "password": "x" })).await;
        assert_eq!(taken.refusal(), (400, "M_USER_IN_USE"));
    }
}

#[tokio::test]
async fn registration_refuses_invalid_accounts() {
    for server in TestServer::on_each().await {
        let auth = json!({ "type": "m.login.dummy" });
        for (body, expected) in [
            (json!({ "username": "a b" }), (400, "M_INVALID_USERNAME")),
            (json!({ "username": "123" }), (400, "M_INVALID_USERNAME")),
            (json!({ "username": "_x" }), (400, "M_INVALID_USERNAME")),
            (json!({ "username": 5 }), (400, "M_BAD_JSON")),
            (json!({ "password": ["x"] }), (400, "M_BAD_JSON")),
            (json!({ "auth": "dummy" }), (400, "M_BAD_JSON")),
            (json!({ "username": "alice", "auth": auth }), (400, "M_MISSING_PARAM")),
            (json!({ "password": "", "auth": auth }), (400, "M_INVALID_PARAM")),
            (json!({ "auth": { "type": "m.login.recaptcha" } }), (400, "M_UNRECOGNIZED")),
            (json!({ "auth": { "type": "m.login.dummy", "session": "nonsense" } }), (400, "M_UNKNOWN")),
            (json!({ "password": "x", "device_id": "a\u{0}", "auth": auth }), (400, "M_INVALID_PARAM")),
        ] {
            let answer = post_unauthenticated(&server, REGISTER, body.clone()).await;
            assert_eq!(answer.refusal(), expected, "{body}");
        }
        let kind = post_unauthenticated(&server, &format!("{REGISTER}?kind=robot"), json!({})).await;
        assert_eq!(kind.refusal(), (400, "M_INVALID_PARAM"));
        let guest = post_unauthenticated(&server, &format!("{REGISTER}?kind=guest"), json!({})).await;
        assert_eq!(guest.refusal(), (403, "M_FORBIDDEN"));
        let available = get_unauthenticated(&server, &format!("{REGISTER}/available?username=carol")).await;
        assert_eq!(available.ok(), &json!({ "available": true }));
        assert_eq!(
            get_unauthenticated(&server, &format!("{REGISTER}/available")).await.refusal(),
            (400, "M_MISSING_PARAM")
        );
        assert_eq!(
            get_unauthenticated(&server, &format!("{REGISTER}/available?username=a%20b")).await.refusal().1,
            "M_INVALID_USERNAME"
        );
    }
}

#[tokio::test]
async fn registration_is_closed_by_default() {
    let server = TestServer::on(TestPlace::sqlite())
        .config("enable_registration: false\nallow_guest_access: true")
        .start()
        .await;
    let closed = post_unauthenticated(&server, REGISTER, json!({ "username": "alice", "password": "x" })).await;
    assert_eq!(closed.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(
        get_unauthenticated(&server, &format!("{REGISTER}/available?username=a")).await.refusal(),
        (403, "M_FORBIDDEN")
    );
    let guest = post_unauthenticated(&server, &format!("{REGISTER}?kind=guest"), json!({})).await;
    let token = guest.ok()["access_token"].as_str().unwrap();
    assert_eq!(server.get(WHOAMI, token).await.ok()["is_guest"], true);
    let refused = server.get("/_matrix/client/v3/account/3pid", token).await;
    assert_eq!(refused.refusal(), (403, "M_GUEST_ACCESS_FORBIDDEN"));
}
