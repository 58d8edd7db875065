//! Element Call, unmodified, in Chromium, at this server: `tests/clients/element-call`.

use std::time::Duration;

use plexus_testkit::server::TestServer;
use plexus_testkit::{places, skip, within};
use tokio::process::Command;

use crate::client::session::login_fallback::chromium;
use crate::{binary, clients};

const TIMEOUT: Duration = Duration::from_secs(300);

/// The way in which it announces who takes part in a call, by a state event or by a sticky event, and what happens.
const STEPS: [&str; 8] = [
    "compatibility: the caller is announced, and the leave is scheduled",
    "compatibility: the leave is restarted",
    "compatibility: the caller hangs up",
    "compatibility: the homeserver sends the leave of a caller who is gone",
    "matrix_2_0: the caller is announced, and the leave is scheduled",
    "matrix_2_0: the leave is restarted",
    "matrix_2_0: the caller hangs up",
    "matrix_2_0: the homeserver sends the leave of a caller who is gone",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_call_begins_and_ends() {
    let script = clients::scripts().join("element-call/call.mjs");
    let is_installed = script.with_file_name("node_modules").is_dir();
    let (Some(chromium), Some(node), true) = (chromium(), clients::node(), is_installed) else {
        skip("Element Call", &"chromium is not installed, or tests/clients/install.sh has not been run");
        return;
    };
    for place in places() {
        let port = binary::free_port();
        let config = format!(
            "max_event_delay_duration: 1d
matrix_rtc: {{transports: [{{type: livekit, livekit_service_url: 'http://127.0.0.1:{port}/livekit'}}]}}
experimental_features: {{msc4143_enabled: true, msc4354_enabled: true}}"
        );
        let server = TestServer::on(place).config(&config).start().await;
        server.register("alice").await;
        server.register("bob").await;
        let call = Command::new(&node)
            .arg(&script)
            .arg(&chromium)
            .args([server.url(), &port.to_string(), "alice", "bob"])
            .kill_on_drop(true)
            .output();
        let output = within(TIMEOUT, call).await.expect("the script ends").expect("node runs");
        clients::assert_whole(&output, &STEPS);
    }
}
