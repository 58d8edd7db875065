//! `POST /appservice/{appserviceId}/ping`.

use plexus_testkit::app_service::registration;
use plexus_testkit::server::TestServer;
use plexus_testkit::{AppServiceStub, TestPlace};
use serde_json::json;

#[tokio::test]
async fn a_ping_goes_to_the_service_and_back() {
    let service = AppServiceStub::start().await;
    let registration_of_silent = registration("silent", "null", "");
    let gone = AppServiceStub::start().await;
    let registration_of_gone = gone.registration("gone", "");
    drop(gone);
    let server = TestServer::on(TestPlace::sqlite())
        .app_service(service.registration("irc", ""))
        .app_service(registration_of_silent)
        .app_service(registration_of_gone)
        .start()
        .await;
    let ping = async |id: &str, token: &str| {
        let path = format!("/_matrix/client/v1/appservice/{id}/ping");
        server.post(&path, token, json!({ "transaction_id": "t1" })).await
    };
    assert!(ping("irc", "from-irc").await.ok()["duration_ms"].is_u64());
    let request = service.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/_matrix/app/v1/ping"));
    assert_eq!((request.token.as_str(), &request.body), ("to-irc", &json!({ "transaction_id": "t1" })));
    assert_eq!(ping("silent", "from-irc").await.refusal(), (403, "M_FORBIDDEN"));
    let alice = server.register("alice").await;
    assert_eq!(ping("irc", &alice.token).await.refusal(), (403, "M_FORBIDDEN"));
    assert_eq!(ping("silent", "from-silent").await.refusal(), (400, "M_URL_NOT_SET"));
    assert_eq!(ping("gone", "from-gone").await.refusal(), (502, "M_CONNECTION_FAILED"));
    service.respond(|_| (418, json!({ "tea": true })));
    let refused = ping("irc", "from-irc").await;
    assert_eq!(refused.refusal(), (502, "M_BAD_STATUS"));
    assert_eq!((&refused.body["status"], &refused.body["body"]), (&json!(418), &json!(r#"{"tea":true}"#)));
}
