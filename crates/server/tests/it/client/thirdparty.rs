//! Networks behind bridges.

use http::Method;
use plexus_testkit::{AppServiceStub, TestPlace, TestServer};
use serde_json::json;

use crate::client::CLIENT;

#[tokio::test]
async fn there_are_no_third_party_networks() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let ask = async |path: &str| server.get(&format!("/_matrix/client/v3/thirdparty/{path}"), &alice.token).await;
    assert_eq!(ask("protocols").await.ok(), &json!({}));
    assert_eq!(ask("protocol/irc").await.refusal(), (404, "M_NOT_FOUND"));
    for path in ["user", "user?userid=%40a%3Ab", "user/irc", "location", "location/irc?channel=x"] {
        assert_eq!(ask(path).await.ok(), &json!([]), "{path}");
    }
}

#[tokio::test]
async fn users_and_rooms_of_networks_are_found() {
    let service = AppServiceStub::start().await;
    service.respond(|request| match request.path.strip_prefix("/_matrix/app/v1/thirdparty/") {
        Some("protocol/irc") => (
            200,
            json!({
                "user_fields": ["nick"], "location_fields": ["channel"], "icon": "mxc://a/b", "field_types": {},
                "instances": [{ "network_id": "libera", "desc": "Libera", "fields": {} }],
            }),
        ),
        Some("user/irc") => (
            200,
            json!([
                { "userid": "@irc_x:test.example", "protocol": "irc", "fields": { "q": request.query } },
                { "bad": 1 },
            ]),
        ),
        Some("location") => {
            (200, json!([{ "alias": "#irc_c:test.example", "protocol": "irc", "fields": { "q": request.query } }]))
        }
        _ => (404, json!({})),
    });
    let registration = service.registration("irc", "protocols: [irc]");
    let server = TestServer::on(TestPlace::sqlite()).app_service(registration).start().await;
    let alice = server.register("alice").await;
    let ask = async |path: &str| {
        server.request(Method::GET, &format!("{CLIENT}/thirdparty/{path}"), Some(&alice.token), None).await
    };
    let protocols = ask("protocols").await;
    assert_eq!(protocols.ok()["irc"]["instances"][0]["instance_id"], "irc|libera");
    assert_eq!(ask("protocol/irc").await.ok()["user_fields"], json!(["nick"]));
    assert_eq!(ask("protocol/xmpp").await.refusal(), (404, "M_NOT_FOUND"));
    let users = ask("user/irc?nick=x").await;
    assert_eq!(users.ok().as_array().map(Vec::len), Some(1));
    assert_eq!(users.body[0]["fields"]["q"], "nick=x");
    assert_eq!(ask("user/xmpp?nick=x").await.ok(), &json!([]));
    let found = ask("location?alias=%23irc_c%3Atest.example").await;
    assert_eq!(found.ok()[0]["fields"]["q"], "alias=%23irc_c%3Atest.example");
    assert_eq!(ask("location?alias=%23free%3Atest.example").await.ok(), &json!([]));
}
