//! Errors that do not depend on the endpoint.

use bytes::Bytes;
use http::Method;
use plexus_testkit::TestServer;

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
