//! Pages for browsers.

use http::Method;
use plexus_testkit::TestServer;

#[tokio::test]
async fn browsers_get_an_icon() {
    let server = TestServer::sqlite().await;
    let icon = server.request(Method::GET, "/favicon.ico", None, None).await;
    assert_eq!((icon.status, &icon.headers["content-type"]), (200, &"image/x-icon".parse().unwrap()));
    assert_eq!(icon.bytes[..6], [0, 0, 1, 0, 1, 0], "an icon with one image");
}

#[tokio::test]
async fn browsers_learn_that_the_server_is_up() {
    let server = TestServer::sqlite().await;
    let start = server.request(Method::GET, "/", None, None).await;
    for path in ["/_matrix/static/", "/_matrix/static"] {
        let page = server.request(Method::GET, path, None, None).await;
        assert_eq!((page.status, &page.bytes), (200, &start.bytes), "{path}");
    }
}
