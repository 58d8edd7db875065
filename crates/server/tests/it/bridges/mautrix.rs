//! The application services of mautrix-python, on which many bridges are built, with their encryption.

use std::process::Stdio;

use plexus_testkit::app_service::registration;
use plexus_testkit::places;
use plexus_testkit::server::TestServer;
use tokio::process::Command;

use super::{PATIENCE, python};
use crate::binary::free_port;
use crate::clients::{assert_whole, scripts};

const CONFIG: &str =
    "experimental_features: {msc2409_to_device_messages_enabled: true, msc3202_transaction_extensions: true}";

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_of_mautrix_is_encrypted() {
    let Some(python) = python("the encrypted bridge") else { return };
    for place in places() {
        let port = free_port().to_string();
        let more = "receive_ephemeral: true\norg.matrix.msc3202: true\nio.element.msc4190: true";
        let registration = registration("enc", &format!("'http://127.0.0.1:{port}'"), more);
        let server = TestServer::on(place).config(CONFIG).app_service(registration).start().await;
        let script = Command::new(&python)
            .arg(scripts().join("bridges/encrypted.py"))
            .args([server.url(), server.name(), &port])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        let output = plexus_testkit::within(2 * PATIENCE, script.wait_with_output()).await;
        let output = output.expect("the conversation ends").expect("the script's output is read");
        assert_whole(
            &output,
            &[
                "a device without a login",
                "an invite is accepted",
                "the bridge decrypts",
                "the user decrypts",
                "more messages",
            ],
        );
    }
}
