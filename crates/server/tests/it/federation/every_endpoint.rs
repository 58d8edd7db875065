//! Rules that hold for every endpoint that only other servers may use.

use http::Method;
use plexus_testkit::TestServer;
use serde_json::json;

/// The path with something in place of each parameter.
fn filled(path: &str) -> String {
    path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn nothing_is_returned_without_a_signature() {
    let server = TestServer::sqlite().await;
    let wrong = r#"X-Matrix origin="127.0.0.1:1",destination="test.example",key="ed25519:1",sig="AA""#;
    let routes = plexus_api_federation::routes::for_servers();
    assert!(!routes.list().is_empty());
    for route in routes.list() {
        let path = filled(&route.path);
        let body = (route.method != Method::GET).then(|| json!({}));
        let answer = server.request(route.method.clone(), &path, None, body.clone()).await;
        assert_eq!(answer.refusal(), (401, "M_UNAUTHORIZED"), "{} {path}", route.method);
        let body = body.map(|body| body.to_string().into()).unwrap_or_default();
        let answer = server.send(route.method.clone(), &path, None, &[("Authorization", wrong)], body).await;
        assert_eq!(answer.refusal(), (401, "M_UNAUTHORIZED"), "{} {path}", route.method);
    }
}
