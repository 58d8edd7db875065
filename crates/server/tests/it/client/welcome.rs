//! Pages for browsers.

use http::Method;
use plexus_testkit::TestServer;

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
