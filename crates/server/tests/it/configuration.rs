//! The effects of configurations at start, and those that are refused.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use plexus_testkit::{TestServer, places};
use serde_json::json;

use crate::binary::{Installation, free_port, plexus, stderr, stdout, temporary_folder};

/// Configurations that are wrong. The lines that begin with `#!` are the beginnings of the errors, in order; FOLDER
/// stands for the folder that the file is in.
const BAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bad-configurations");

/// What the configurations name that is there.
fn prepare(folder: &Path) {
    let key = plexus().args(["generate-signing-key", "-o"]).arg(folder.join("good.signing.key")).output().unwrap();
    assert!(key.status.success(), "{}", stderr(&key));
    fs::write(folder.join("file"), "no folder, no socket and no certificate\n").unwrap();
    let wrong = "version: 1\nroot:\n  level: LOUD\n  handlers: [nobody, console]\nhandlers:\n  console:\n    class: \
                 logging.StreamHandler\n    formatter: none\n";
    fs::write(folder.join("wrong.log.config"), wrong).unwrap();
    let nowhere = format!(
        "root: {{handlers: [file]}}\nhandlers: {{file: {{class: logging.FileHandler, filename: {}/none/log}}}}\n",
        folder.display()
    );
    fs::write(folder.join("nowhere.log.config"), nowhere).unwrap();
}

/// The errors in what a command printed, in order.
fn errors(printed: &str) -> Vec<String> {
    let error = |line: &str| {
        let line = line.strip_prefix("plexus: the configuration is wrong:").unwrap_or(line).trim();
        let is_error = line.starts_with("error: ") || line.starts_with('/');
        is_error.then(|| line.trim_start_matches("error: ").to_owned())
    };
    printed.lines().filter_map(error).collect()
}

#[test]
fn serve_and_check_refuse_the_same_and_find_all_of_it() {
    let folder = temporary_folder();
    prepare(&folder);
    let here = folder.display().to_string();
    let mut tried = 0;
    for entry in fs::read_dir(BAD).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().replace("FOLDER", &here);
        let yaml = folder.join("homeserver.yaml");
        fs::write(&yaml, &text).unwrap();
        let run = |command: &[&str]| {
            let output = plexus().args(command).arg("-c").arg(&yaml).current_dir(&folder).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{}: {}{}", path.display(), stdout(&output), stderr(&output));
            output
        };
        let checked = errors(&stdout(&run(&["config", "check"])));
        let served = errors(&stderr(&run(&["serve"])));
        assert_eq!(checked, served, "{}", path.display());
        let expected: Vec<String> =
            text.lines().filter_map(|line| Some(format!("{here}/{}", line.strip_prefix("#! ")?))).collect();
        let same = |(found, expected): (&String, &String)| found.starts_with(expected.as_str());
        let all = checked.len() == expected.len() && checked.iter().zip(&expected).all(same);
        assert!(all, "{}: found {checked:#?}, expected {expected:#?}", path.display());
        tried += 1;
    }
    assert!(tried >= 8, "{tried}");
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "nothing is made: {left:?}");
    fs::remove_dir_all(folder).unwrap();
}

/// `plexus config check` of an installation.
fn check(installation: &Installation) -> Output {
    plexus().args(["config", "check", "-c"]).arg(installation.yaml()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_by_name_are_where_the_data_is() {
    for place in places() {
        let yaml = place.homeserver_yaml();
        let database = yaml.strip_prefix("database: ").unwrap().trim().to_owned();
        let config = format!("database: null\ndatabases: {{everything: {database}}}");
        let mut server = TestServer::on(place).config(&config).start().await;
        let alice = server.register("alice").await;
        server.restart().await;
        server.get("/_matrix/client/v3/account/whoami", &alice.token).await.ok();
        // The same database under its usual name.
        let named: serde_json::Value = serde_json::from_str(&database).unwrap();
        let used = server.config().database.database.as_ref().expect("the one database");
        assert_eq!(json!(used.args), named["args"]);
    }
}

#[test]
fn databases_by_name_make_no_other_database() {
    let installation = Installation::new();
    let yaml = fs::read_to_string(installation.yaml()).unwrap();
    let (before, after) = yaml.split_once("\ndatabase:\n").unwrap();
    let (_, after) = after.split_once("\nmedia_store_path").unwrap();
    let place = installation.folder.join("elsewhere.db");
    let databases = format!("databases: {{main: {{name: sqlite3, args: {{database: {}}}}}}}", json!(place));
    fs::write(installation.yaml(), format!("{before}\n{databases}\nmedia_store_path{after}")).unwrap();
    let mut command = installation.command("serve");
    command.current_dir(&installation.folder);
    let server = crate::binary::Server::spawn(command, &installation.folder);
    assert!(installation.register(&["-u", "alice", "-p", "secret", "--admin"]).status.success());
    let port = free_port().to_string();
    let second = installation.command("serve").args(["--port", &port]).output().unwrap();
    let line = format!("databases.main.args.database is set in {}:", installation.yaml().display());
    assert!(stderr(&second).contains(&line), "the option that the operator knows: {}", stderr(&second));
    server.stop();
    assert!(place.exists() && !installation.folder.join("homeserver.db").exists());
}

#[test]
fn a_signing_key_in_the_configuration_is_used() {
    let installation = Installation::new();
    let path = installation.folder.join("it.example.signing.key");
    let key = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    installation.add(&format!("\nsigning_key: {}\n", json!(key.trim())));
    assert!(check(&installation).status.success(), "{}", stdout(&check(&installation)));
    installation.start().stop();
    assert!(!path.exists());
}

#[test]
fn a_server_name_for_another_folder_is_refused() {
    let installation = Installation::new();
    let serve = |name: &str| installation.command("serve").args(["--server-name", name]).output().unwrap();
    let refused = serve("other.example");
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    let place =
        format!("{}:5: server_name: it.example, but --server-name is other.example", installation.yaml().display());
    assert!(said.contains(&place) && said.contains("--data-dir"), "{said}");
    let taken = TcpListener::bind(("127.0.0.1", installation.port)).unwrap();
    assert!(stderr(&serve("it.example")).contains("in use"), "its own name is no error");
    drop(taken);
}

/// Runs in a folder of its own.
fn in_folder(folder: &Path, arguments: &[&str]) -> Output {
    let mut command: Command = plexus();
    command.args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn the_port_of_a_name_is_that_of_the_proxy_in_front() {
    let folder = temporary_folder();
    for (name, port) in [("a.example", 8008), ("a.example:8448", 8048), ("[::1]:9000", 8600), ("a.example:300", 8008)] {
        let made = in_folder(&folder, &["generate-config", "--config-only", "--server-name", name]);
        assert!(stdout(&made).contains(&format!("  - port: {port}\n")), "{name}: {}", stdout(&made));
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn generating_again_makes_what_is_missing() {
    let folder = temporary_folder();
    let generate = || {
        let arguments =
            ["serve", "-H", "it.example", "--report-stats=no", "--generate-config", "-c", "homeserver.yaml"];
        let output = in_folder(&folder, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert!(generate().contains("wrote homeserver.yaml"));
    assert_eq!(generate(), "nothing is missing\n");
    let yaml = folder.join("homeserver.yaml");
    let text = fs::read_to_string(&yaml).unwrap().replace("registration_shared_secret: ", "#");
    let more = "log_config: log.config\nregistration_shared_secret_path: secret\n";
    fs::write(&yaml, format!("{text}\n{more}")).unwrap();
    fs::remove_file(folder.join("it.example.signing.key")).unwrap();
    let said = generate();
    for name in ["it.example.signing.key", "log.config", "secret"] {
        assert!(said.contains(name) && folder.join(name).exists(), "{name}: {said}");
    }
    let checked = in_folder(&folder, &["config", "check", "-c", "homeserver.yaml"]);
    assert!(checked.status.success(), "{}", stdout(&checked));
    assert_eq!(generate(), "nothing is missing\n");
    fs::remove_dir_all(folder).unwrap();
}

/// The answer to GET `path` at a port of this machine.
fn get(port: u16, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_have_listeners_of_their_own() {
    let installation = Installation::new();
    let (metrics, old) = (free_port(), free_port());
    installation.edit("\nlisteners:\n", &format!("\nlisteners:\n  - {{port: {metrics}, type: metrics}}\n"));
    installation.add(&format!("\nmetrics_port: {old}\n"));
    let server = installation.start();
    TcpStream::connect(("127.0.0.1", metrics)).expect_err("without enable_metrics it is not opened");
    let said = stderr(&server.stop());
    assert!(said.contains("the listener of type metrics is not opened"), "{said}");

    installation.add("\nenable_metrics: yes\n");
    let server = installation.start();
    for path in ["/", "/metrics", "/_synapse/metrics"] {
        let answer = get(metrics, path);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\nplexus_cache_entries{"), "{path}: {answer}");
    }
    assert!(get(metrics, "/_matrix/client/versions").contains("# HELP"), "metrics, and nothing else");
    assert!(get(old, "/_synapse/metrics").contains("\nplexus_cache_entries{"));
    assert!(get(old, "/_matrix/client/versions").starts_with("HTTP/1.1 404"));
    assert!(get(installation.port, "/_matrix/client/versions").starts_with("HTTP/1.1 200"));
    let said = stdout(&server.stop());
    assert!(said.contains(&format!("metrics: http://0.0.0.0:{metrics}")), "{said}");
}

#[test]
fn a_manhole_says_what_replaces_it() {
    let installation = Installation::new();
    installation.edit("\nlisteners:\n", "\nlisteners:\n  - {port: 9000, type: manhole}\n");
    installation.add("\nmanhole: 9001\n");
    let said = stdout(&check(&installation));
    for option in ["listeners[0].type", "manhole"] {
        assert!(said.contains(&format!("{option}: not opened: a manhole is a Python console")), "{said}");
    }
    assert!(said.contains("`plexus db`"), "{said}");
    installation.start().stop();
}

#[test]
fn certificates_are_made_only_where_none_is_named() {
    let installation = Installation::new();
    installation.edit("tls: false", "tls: true");
    installation.start().stop();
    let made = installation.folder.join("it.example.tls.crt");
    assert!(made.exists());
    let certificate = installation.folder.join("named.crt");
    let key = installation.folder.join("it.example.tls.key");
    let tls = format!("\ntls_certificate_path: {}\ntls_private_key_path: {}\n", json!(certificate), json!(key));
    installation.add(&tls);
    let sentence = installation.refused();
    assert!(sentence.contains("tls_certificate_path: cannot read the TLS file"), "{sentence}");
    assert!(sentence.contains(&format!("{}:", installation.yaml().display())), "{sentence}");
    assert!(!certificate.exists());
    fs::rename(made, certificate).unwrap();
    installation.start().stop();
}
