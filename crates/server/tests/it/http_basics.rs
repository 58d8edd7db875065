//! The parts of HTTP that are the same for every endpoint, on each database.

use bytes::Bytes;
use http::Method;
use plexus_testkit::{TestPlace, TestServer};
use serde_json::json;

#[tokio::test]
async fn health_and_versions() {
    for server in TestServer::on_each().await {
        let health = server.request(Method::GET, "/health", None, None).await;
        assert_eq!((health.status, &health.bytes[..]), (200, &b"OK"[..]));
        let versions = server.request(Method::GET, "/_matrix/client/versions", None, None).await;
        assert!(versions.ok()["versions"].as_array().unwrap().contains(&json!("v1.19")));
    }
}

#[tokio::test]
async fn errors_are_the_specifications() {
    let server = TestServer::sqlite().await;
    let refusal = async |method, path: &str, token: Option<&str>| {
        let answer = server.request(method, path, token, None).await;
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        (answer.status, answer.body["errcode"].as_str().unwrap_or_default().to_owned())
    };
    let of = |status: u16, errcode: &str| (status, errcode.to_owned());
    let capabilities = "/_matrix/client/v3/capabilities";
    assert_eq!(refusal(Method::GET, "/_matrix/client/v3/nothing", None).await, of(404, "M_UNRECOGNIZED"));
    assert_eq!(refusal(Method::POST, capabilities, None).await, of(405, "M_UNRECOGNIZED"));
    assert_eq!(refusal(Method::GET, capabilities, None).await, of(401, "M_MISSING_TOKEN"));
    assert_eq!(refusal(Method::GET, capabilities, Some("x")).await, of(401, "M_UNKNOWN_TOKEN"));
    let both = format!("{capabilities}?access_token=x");
    assert_eq!(refusal(Method::GET, &both, Some("x")).await, of(401, "M_MISSING_TOKEN"));
    assert_eq!(refusal(Method::GET, "/.well-known/matrix/client", None).await, of(404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn oversized_bodies_are_answered() {
    let server = TestServer::sqlite().await;
    let body = Bytes::from(vec![b' '; 14 << 20]);
    let answer = server.send(Method::POST, "/_synapse/admin/v1/register", None, &[], body).await;
    assert_eq!(answer.refusal(), (413, "M_TOO_LARGE"));
}

#[tokio::test]
async fn well_known() {
    let config = "
public_baseurl: https://matrix.example/
extra_well_known_client_content: {org.example.x: {y: 1}}";
    let server = TestServer::on(TestPlace::sqlite()).config(config).start().await;
    let answer = server.request(Method::GET, "/.well-known/matrix/client", None, None).await;
    let expected = json!({
        "m.homeserver": { "base_url": "https://matrix.example/" },
        "org.example.x": { "y": 1 },
    });
    assert_eq!(answer.ok(), &expected);
}

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
async fn browsers_get_an_icon_and_a_login_page() {
    let server = TestServer::sqlite().await;
    let icon = server.request(Method::GET, "/favicon.ico", None, None).await;
    assert_eq!((icon.status, &icon.headers["content-type"]), (200, &"image/x-icon".parse().unwrap()));
    assert_eq!(icon.bytes[..6], [0, 0, 1, 0, 1, 0], "an icon with one image");
    for path in ["/_matrix/static/client/login/", "/_matrix/static/client/login?device_id=x"] {
        let page = server.request(Method::GET, path, None, None).await;
        assert_eq!(page.status, 200);
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("connect-src 'self'") && policy.contains("frame-src js:"), "{policy}");
        assert!(String::from_utf8_lossy(&page.bytes).contains("onLogin"), "the page has its script");
    }
}
