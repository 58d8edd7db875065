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
