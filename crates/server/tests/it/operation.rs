//! The operator's view: mistakes in the configuration, errors that name the way out, the log.

use std::fs;
use std::net::TcpListener;

use http::Method;
use plexus_testkit::{Client, blank_places};
use rustix::process::Signal;

use crate::binary::{Installation, Server, free_port, plexus, stderr, stdout, temporary_folder};

/// Mistakes of each kind: an option that is wrong, text that is not YAML, and a key that cannot be used.
const MISTAKES: [&str; 3] = [
    "\nenable_registration: perhaps\n",
    "\nenable_registration: [\n",
    "\nold_signing_keys: {ed25519:a_old: {key: notakey, expired_ts: 1}}\n",
];

#[test]
fn mistakes_in_the_configuration_do_not_keep_a_server_running() {
    for mistake in MISTAKES {
        let installation = Installation::new();
        let control = |name: &str| installation.command(name).output().unwrap();
        assert_eq!(control("status").status.code(), Some(3));
        let server = installation.start();
        installation.add(mistake);
        let status = control("status");
        assert_eq!(stdout(&status), format!("running, process {}\n", server.id()), "{}", stderr(&status));
        assert_eq!(status.status.code(), Some(0));

        let listed = plexus().args(["user", "list", "-c"]).arg(installation.yaml()).output().unwrap();
        assert!(listed.status.success(), "{}", stderr(&listed));
        let made = installation.register(&["-u", "alice", "-p", "secret"]);
        assert!(made.status.success(), "register needs the secret alone: {}", stderr(&made));

        let restart = control("restart");
        assert_eq!(restart.status.code(), Some(1));
        assert!(stderr(&restart).contains("was not stopped"), "{}", stderr(&restart));
        assert_eq!(control("status").status.code(), Some(0));

        let stop = control("stop");
        assert_eq!(stop.status.code(), Some(0), "{}", stderr(&stop));
        assert_eq!(server.wait().status.code(), Some(0));
        assert_eq!(control("status").status.code(), Some(3));
        let said = stdout(&control("stop"));
        let media_store = installation.folder.join("media_store");
        let no_socket =
            format!("not running: there is no control.sock of a running server in {}", media_store.display());
        assert!(said.starts_with(&no_socket), "{said}");
    }
}

#[test]
fn a_server_that_could_not_write_its_files_again_is_not_stopped() {
    let installation = Installation::new();
    let server = installation.start();
    let log = installation.folder.join("homeserver.log");
    fs::create_dir(&log).unwrap();
    let refused = |path: &str| {
        let restart = installation.command("restart").output().unwrap();
        assert_eq!(restart.status.code(), Some(1));
        let said = stderr(&restart);
        assert!(said.contains("was not stopped") && said.contains(path), "{said}");
    };
    refused(log.to_str().unwrap());
    fs::remove_dir(&log).unwrap();
    installation.add("\npid_file: /nowhere/homeserver.pid\n");
    refused("/nowhere/homeserver.pid");
    server.stop();
}

#[test]
fn a_folder_with_a_very_long_name() {
    let installation = Installation::new();
    let media = installation.folder.join("long".repeat(30));
    let store = installation.folder.join("media_store");
    installation.edit(store.to_str().unwrap(), media.to_str().unwrap());
    let server = installation.start();
    let stop = installation.command("stop").output().unwrap();
    assert_eq!(stop.status.code(), Some(0), "{}", stderr(&stop));
    assert_eq!(stdout(&stop), "stopped\n");
    assert_eq!(server.wait().status.code(), Some(0));
    assert!(!media.join("control.sock").exists());
}

#[test]
fn a_configuration_that_is_not_there() {
    for name in ["stop", "status", "restart"] {
        let output = plexus().args([name, "-c", "/nowhere/homeserver.yaml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("/nowhere/homeserver.yaml"), "{}", stderr(&output));
    }
}

#[test]
fn a_database_of_synapse_is_named() {
    for place in blank_places() {
        place.run(&["CREATE TABLE applied_schema_deltas (version INTEGER NOT NULL, file TEXT NOT NULL)"]);
        let installation = Installation::on(&place);
        let sentence = installation.refused();
        assert!(sentence.contains("is a database of Synapse"), "{sentence}");
        assert!(sentence.contains("nothing in it was changed"), "{sentence}");
        assert!(sentence.contains(installation.yaml().to_str().unwrap()), "{sentence}");
        let stats = plexus().args(["db", "stats", "-c"]).arg(installation.yaml()).output().unwrap();
        assert!(stderr(&stats).contains("is a database of Synapse"), "{}", stderr(&stats));
    }
}

/// `homeserver.yaml:LINE` of the line that begins so.
fn place(installation: &Installation, beginning: &str) -> String {
    let text = fs::read_to_string(installation.yaml()).unwrap();
    let line = text.lines().position(|line| line.trim_start().starts_with(beginning)).unwrap() + 1;
    format!("{}:{line}", installation.yaml().display())
}

#[test]
fn sentences_name_the_way_out() {
    let installation = Installation::new();
    let taken = TcpListener::bind(("127.0.0.1", installation.port)).unwrap();
    let sentence = installation.refused();
    let port = format!("listeners[0].port is set in {}", place(&installation, "- port:"));
    assert!(sentence.contains(&port) && sentence.contains("--port"), "{sentence}");
    drop(taken);

    let register = installation.register(&["-u", "alice", "-p", "secret"]);
    let said = stderr(&register);
    assert_eq!(register.status.code(), Some(1));
    assert!(said.contains("plexus start") && said.contains(&place(&installation, "listeners:")), "{said}");

    let key = installation.folder.join("it.example.signing.key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let sentence = installation.refused();
    let set = format!("{}: signing_key_path: there is no signing key", place(&installation, "signing_key_path:"));
    assert!(sentence.contains(&set) && sentence.contains("--generate-missing"), "{sentence}");
    fs::write(&key, kept).unwrap();

    let server = installation.start();
    let sentence = installation.refused();
    assert!(sentence.contains(&format!("runs already, as process {}", server.id())), "{sentence}");
    server.stop();
}

#[test]
fn a_first_start_warns_of_nothing() {
    let folder = temporary_folder();
    let (data, port) = (folder.join("data"), free_port());
    let mut command = plexus();
    command.args(["serve", "--server-name", "new.example", "--port", &port.to_string(), "--data-dir"]).arg(&data);
    let output = Server::spawn(command, &folder).stop();
    let log = stderr(&output);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let took = log.split_once("started in ").and_then(|(_, rest)| rest.split_once(" s")).map(|(seconds, _)| seconds);
    assert!(took.is_some_and(|seconds| seconds.parse::<f64>().unwrap() > 0.0), "{log}");
    let said = stdout(&output);
    assert!(said.contains(&format!("http://127.0.0.1:{port} (started in ")), "{said}");
    // The port is the one that is asked for ever after.
    let yaml = fs::read_to_string(data.join("homeserver.yaml")).unwrap();
    assert!(yaml.contains(&format!("- port: {port}\n")), "{yaml}");
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn another_port_for_once() {
    let installation = Installation::new();
    let before = fs::read(installation.yaml()).unwrap();
    let port = free_port();
    let mut command = installation.command("serve");
    command.args(["--port", &port.to_string()]);
    let server = Server::spawn(command, &installation.folder);
    let client = Client::new(format!("http://127.0.0.1:{port}"));
    client.request(Method::GET, "/_matrix/client/versions", None, None).await.ok();
    assert_eq!(fs::read(installation.yaml()).unwrap(), before);
    server.stop();

    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let output = installation.command("serve").args(["--port", &port.to_string()]).output().unwrap();
    let said = stderr(&output);
    assert!(said.contains("in use") && !said.contains("is set in"), "the file has another port: {said}");
    drop(taken);
}

#[test]
fn sighup_says_what_was_reread_and_what_was_not() {
    let installation = Installation::new();
    let server = installation.start();
    let reload = || {
        server.signal(Signal::HUP);
        assert!(server.notification().starts_with("RELOADING=1"));
        assert_eq!(server.notification(), "READY=1");
    };
    reload();
    installation.add("\nserve_server_wellknown: true\n");
    installation.edit("report_stats: false", "report_stats: true");
    reload();
    installation.add("\nenable_registration: perhaps\n");
    reload();
    installation
        .edit("enable_registration: perhaps", "old_signing_keys: {ed25519:a_old: {key: notakey, expired_ts: 1}}");
    reload();
    let log = stderr(&server.stop());
    assert!(log.contains("log_config is not set"), "{log}");
    assert!(log.contains("the configuration is as it was at the start"), "{log}");
    assert!(log.contains("the changed options report_stats, serve_server_wellknown"), "{log}");
    assert!(log.contains("the next start would fail") && log.contains("enable_registration"), "{log}");
    assert!(log.contains("old_signing_keys.ed25519:a_old: cannot be used"), "what only its use shows: {log}");
}

#[test]
fn sighup_rereads_log_levels() {
    let installation = Installation::new();
    let file = installation.folder.join("log.config");
    let log_config = |level: &str| {
        format!(
            "version: 1\nhandlers: {{x: {{class: logging.StreamHandler}}}}\nroot: {{level: {level}, handlers: [x]}}\n"
        )
    };
    fs::write(&file, log_config("INFO")).unwrap();
    installation.add(&format!("\nlog_config: {}\n", file.display()));
    let server = installation.start();
    fs::write(&file, log_config("DEBUG")).unwrap();
    server.signal(Signal::HUP);
    assert!(server.notification().starts_with("RELOADING=1"));
    assert_eq!(server.notification(), "READY=1");
    let log = stderr(&server.stop());
    assert!(log.contains(&format!("reread the log levels in {}", file.display())), "{log}");
}

#[tokio::test]
async fn the_access_log_counts_what_was_sent() {
    let installation = Installation::new();
    installation.edit("compress: false", "compress: true");
    let server = installation.start();
    let client = Client::new(format!("http://127.0.0.1:{}", installation.port));
    let versions = "/_matrix/client/versions";
    let plain = client.request(Method::GET, versions, None, None).await;
    let headers = [("Accept-Encoding", "gzip")];
    let packed = client.send(Method::GET, versions, None, &headers, bytes::Bytes::new()).await;
    assert!(packed.bytes.len() < plain.bytes.len(), "it is compressed");
    assert_eq!(client.request(Method::OPTIONS, versions, None, None).await.status, 200);
    let log = stderr(&server.stop());
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("Processed request")).collect();
    let sizes = [plain.bytes.len(), packed.bytes.len()];
    assert_eq!(lines.len(), sizes.len(), "a preflight is not of interest: {log}");
    for (line, size) in lines.iter().zip(sizes) {
        assert!(line.contains(&format!("sec {size}B 200 \"GET {versions}")), "{line}");
    }
}
