//! GET /_matrix/static/client/login/ in a real browser: Chromium, driven by `tests/clients/browser/login_fallback.mjs`.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use plexus_testkit::TestPlace;
use plexus_testkit::server::TestServer;
use tokio::process::Command;

use crate::clients;

const TIMEOUT: Duration = Duration::from_secs(120);

const STEPS: [&str; 10] = [
    "a wrong password is said, and the form stays",
    "a password logs in",
    "the client's callback gets the response, for the device it named",
    "a login token logs in, once",
    "a server without passwords says so",
    "a server that is down is said, and the form stays",
    "no errors in the page",
    "the policy lets a frame carry the response",
    "the page fits a narrow screen",
    "the content security policy holds",
];

/// Returns the path of Debian's `chromium`, if it is installed.
pub(crate) fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|program| program.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_on_the_page() {
    let (Some(chromium), Some(node)) = (chromium(), clients::node()) else {
        plexus_testkit::skip(
            "the login page",
            &"chromium is not installed, or tests/clients/install.sh has not been run",
        );
        return;
    };
    let server =
        TestServer::on(TestPlace::sqlite()).config("login_via_existing_session: {enabled: true}").start().await;
    let without_passwords =
        TestServer::on(TestPlace::sqlite()).config("password_config: {enabled: false}").start().await;
    server.register("alice").await;
    let script = clients::scripts().join("browser/login_fallback.mjs");
    let browser = Command::new(node)
        .arg(script)
        .arg(chromium)
        .args([server.url(), "alice", "password of alice", without_passwords.url()])
        .kill_on_drop(true)
        .output();
    let output = plexus_testkit::within(TIMEOUT, browser).await.expect("the script ends").expect("node runs");
    clients::assert_whole(&output, &STEPS);
}

#[tokio::test]
async fn the_page_may_reach_only_this_server_and_old_clients() {
    let server = TestServer::sqlite().await;
    for path in ["/_matrix/static/client/login/", "/_matrix/static/client/login?device_id=x"] {
        let page = server.request(Method::GET, path, None, None).await;
        assert_eq!(page.status, 200);
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("connect-src 'self'") && policy.contains("frame-src js:"), "{policy}");
        assert!(String::from_utf8_lossy(&page.bytes).contains("onLogin"), "the page has its script");
    }
}
