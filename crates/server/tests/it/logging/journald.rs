//! systemd-journald itself, read back with journalctl. It and the server see a folder of the test as /run.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{log_in, logging};
use crate::binary::{Server, plexus, stdout};

const JOURNALD: &str = "/lib/systemd/systemd-journald";
const CONFIGURATION: &str = "[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nRateLimitIntervalSec=0\n";

/// Returns `command` in a mount namespace of its own, in which `run` is at /run; it keeps its process id.
fn with_run(run: &Path, command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    outer.arg("--mount");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        outer.arg("--map-root-user");
    }
    outer.args(["sh", "-c", r#"mount --bind "$0" /run && exec "$@""#]).arg(run);
    outer.arg(command.get_program()).args(command.get_args());
    outer
}

/// Returns the records of `identifier` in the order they were logged.
fn records(run: &Path, identifier: &str) -> Vec<Value> {
    let journalctl = |arguments: &[&str]| {
        let output = with_run(run, Command::new("journalctl").args(arguments)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        stdout(&output)
    };
    journalctl(&["--sync"]);
    let text = journalctl(&["--output", "json", "--all", "--identifier", identifier]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn folder_for_run(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    let configuration = run.join("systemd/journald.conf.d");
    fs::create_dir_all(&configuration).unwrap();
    fs::write(configuration.join("test.conf"), CONFIGURATION).unwrap();
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_shows_records_with_their_fields() {
    let installation =
        logging(|_| "class: systemd.journal.JournalHandler, MY_FIELD: mine, formatter: lines".to_owned());
    let run = folder_for_run(&installation.folder);
    if !Path::new(JOURNALD).exists() || !with_run(&run, &Command::new("true")).status().is_ok_and(|it| it.success()) {
        plexus_testkit::skip("systemd's journal", &"systemd-journald is not installed, or nothing may be mounted");
        return;
    }
    let journald = Server::spawn(with_run(&run, &Command::new(JOURNALD)), &installation.folder);
    let mut serve = plexus();
    serve.args(["serve", "-c"]).arg(installation.yaml());
    let server = Server::spawn(with_run(&run, &serve), &installation.folder);
    assert_eq!(log_in(&installation, "v3", "nobody", "wrong", ["user-agent", "x"]).await, 403);
    let pid = server.id().to_string();
    server.stop();
    let records = records(&run, "plexus");
    journald.stop();

    let refused = records.iter().find(|it| it["LOGGER"] == "plexus_accounts.login").expect("the refused login");
    let reason = "Attempted to login as @nobody:it.example but they do not exist";
    assert_eq!(refused["MESSAGE"], format!("POST-1 says:\n{reason}"), "a message of two lines");
    assert_eq!([&refused["PRIORITY"], &refused["_PID"], &refused["MY_FIELD"]], ["4", &pid, "mine"]);
    assert!(refused["CODE_FILE"].as_str().unwrap().ends_with("login.rs") && refused["CODE_LINE"].is_string());
    let access = format!("synapse.access.http.{}", installation.port);
    let request = records.iter().find(|it| it["LOGGER"] == *access).expect("the request");
    assert_eq!(request["PRIORITY"], "6");
    assert!(request["MESSAGE"].as_str().unwrap().contains("\"POST /_matrix/client/v3/login"), "{request}");
}
