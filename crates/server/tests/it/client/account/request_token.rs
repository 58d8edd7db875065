//! The six `.../requestToken` endpoints, on a server that sends neither emails nor text messages.

use plexus_testkit::TestServer;
use serde_json::json;

use crate::client::post_unauthenticated;

const PLACES: [&str; 3] = ["register", "account/password", "account/3pid"];

#[tokio::test]
async fn addresses_are_not_validated_by_a_server_that_cannot_reach_them() {
    let server = TestServer::sqlite().await;
    let email = json!({ "client_secret": "s", "email": "a@example.org", "send_attempt": 1 });
    let phone = json!({ "client_secret": "s", "country": "GB", "phone_number": "07700900001", "send_attempt": 1 });
    for place in PLACES {
        for (medium, body) in [("email", &email), ("msisdn", &phone)] {
            let path = format!("/_matrix/client/v3/{place}/{medium}/requestToken");
            let refused = post_unauthenticated(&server, &path, body.clone()).await;
            assert_eq!(refused.refusal(), (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"), "{path}");
            for field in body.as_object().unwrap().keys() {
                let mut body = body.clone();
                body.as_object_mut().unwrap().remove(field);
                let refused = post_unauthenticated(&server, &path, body).await;
                assert_eq!(refused.refusal(), (400, "M_MISSING_PARAM"), "{path} without {field}");
                assert_eq!(refused.body["error"], format!("Missing params: {field}"));
            }
            let refused = post_unauthenticated(&server, &path, json!([])).await;
            assert_eq!(refused.refusal(), (400, "M_BAD_JSON"), "{path}");
        }
    }
}
