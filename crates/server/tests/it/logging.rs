//! Where log records go and what they look like, by the file that `log_config` names.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, Request};
use plexus_net::http::send_operator_command;
use regex::Regex;
use serde_json::{Value, json};

use crate::binary::{Installation, stderr};

mod fail2ban;
mod journald;
mod logrotate;

/// An installation whose records go to the one handler that `handler` describes, given the path that it may use.
fn logging(handler: impl FnOnce(&Path) -> String) -> Installation {
    let installation = Installation::new();
    let handler = handler(&place(&installation));
    let path = installation.folder.join("log.config");
    let precise = "'%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s'";
    let lines = r#""%(request)s says:\n%(message)s""#;
    let text = format!(
        "version: 1\nformatters: {{precise: {{format: {precise}}}, lines: {{format: {lines}}}}}\n\
         handlers: {{h: {{{handler}}}}}\nroot: {{level: INFO, handlers: [h]}}\n"
    );
    fs::write(&path, text).unwrap();
    installation.add(&format!("\nlog_config: {}\n", json!(path)));
    installation
}

/// The file or socket that a handler writes to.
fn place(installation: &Installation) -> PathBuf {
    installation.folder.join("log")
}

/// Sends a request with one header and returns the status of the answer.
async fn ask(installation: &Installation, method: Method, path: &str, body: Value, header: [&str; 2]) -> u16 {
    let url = format!("http://127.0.0.1:{}{path}", installation.port);
    let request = Request::builder().method(method).uri(url).header(header[0], header[1]);
    let request = request.body(body.to_string().into()).unwrap();
    send_operator_command(request).await.unwrap().status.as_u16()
}

async fn get(installation: &Installation, path: &str) -> u16 {
    ask(installation, Method::GET, path, json!({}), ["user-agent", "x"]).await
}

async fn log_in(installation: &Installation, version: &str, user: &str, password: &str, header: [&str; 2]) -> u16 {
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    });
    ask(installation, Method::POST, &format!("/_matrix/client/{version}/login"), body, header).await
}

/// Filters that administrators of Synapse use, with `<HOST>` for the address; the port of theirs is any here.
const FAIL2BAN: [&str; 3] = [
    // The one in docs/logging.md.
    r#"^[\d :,-]*- synapse\.access\.http\.\S+ - \d+ - INFO - POST-[\w.:-]+ - <HOST> - \S+ - \{None\} Processed request: \S+ \S+ 403 "POST /_matrix/client/(?:r0|v3|unstable)/login"#,
    r#"^.*INFO - POST(.*?) - <HOST> -.* (403|404) "POST \/_matrix\/client\/(?:r0|v3)\/login.*"#,
    r#"synapse.access.http.\d+ - .* INFO - POST-[0-9]{1,10} - <HOST> - \d+ - \{None\} Processed.* 403 "POST \/_matrix\/client\/(?:r0|v3)\/login.*$"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_fail2ban_find_refused_logins() {
    let installation =
        logging(|log| format!("class: logging.FileHandler, formatter: precise, filename: {}", json!(log)));
    let log = place(&installation);
    let server = installation.start();
    assert!(installation.register(&["-u", "alice", "-p", "secret", "--no-admin"]).status.success());
    assert_eq!(log_in(&installation, "v3", "alice", "secret", ["user-agent", "x"]).await, 200);
    assert_eq!(log_in(&installation, "v3", "alice", "wrong", ["user-agent", "x"]).await, 403);
    assert_eq!(log_in(&installation, "r0", "nobody", "wrong", ["user-agent", "x"]).await, 403);
    let imitation = r#"x" - synapse.access.http.1 - 1 - INFO - POST-1 - 192.0.2.1 - 1 - {None} Processed request: x 403 "POST /_matrix/client/v3/login"#;
    assert_eq!(log_in(&installation, "v3", "alice", "secret", ["user-agent", imitation]).await, 200);
    server.stop();
    let text = fs::read_to_string(&log).unwrap();
    for filter in FAIL2BAN {
        let filter = Regex::new(&filter.replace("<HOST>", r"(?P<host>[0-9a-f:.]+)")).unwrap();
        let hosts: Vec<&str> =
            text.lines().filter_map(|line| Some(filter.captures(line)?.name("host")?.as_str())).collect();
        assert_eq!(hosts, ["127.0.0.1", "127.0.0.1"], "{filter}: {text}");
    }
    // A record that quotes another server's error.
    let quoting = r#"2026-11-29 23:33:28,123 - plexus - 1 - INFO - sentinel - INFO - POST-1 - 192.0.2.1 - 1 - {None} Processed request: 1s 1B 403 "POST /_matrix/client/v3/login"#;
    let documented = Regex::new(&FAIL2BAN[0].replace("<HOST>", "[0-9a-f:.]+")).unwrap();
    assert!(!documented.is_match(quoting));
    assert!(include_str!("../../../../docs/logging.md").contains(FAIL2BAN[0]), "the documented filter is another");
    for refusal in [
        r"- plexus_accounts\.login - \d+ - WARNING - POST-\d+ - Failed password login for user @alice:it\.example\n",
        r"- WARNING - POST-\d+ - Attempted to login as @nobody:it\.example but they do not exist\n",
    ] {
        assert!(Regex::new(refusal).unwrap().is_match(&text), "{refusal}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_gets_records() {
    let installation = logging(|path| format!("class: logging.handlers.SysLogHandler, address: {}", json!(path)));
    let socket = UnixDatagram::bind(place(&installation)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let server = installation.start();
    get(&installation, "/_matrix/client/versions").await;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).expect("the request is logged within a minute");
        let record = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(record.starts_with("<12>plexus: ") || record.starts_with("<14>plexus: "), "{record}");
        if record.contains("\"GET /_matrix/client/versions") {
            break;
        }
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_are_not_known_log_to_the_standard_error_and_say_so() {
    let installation = logging(|_| "class: pygelf.GelfUdpHandler".to_owned());
    let server = installation.start();
    get(&installation, "/_matrix/client/versions").await;
    let said = stderr(&server.stop());
    let sentence =
        "handlers.h: the class pygelf.GelfUdpHandler is not known here; its records go to the standard error";
    assert!(said.contains(sentence) && said.contains("GET /_matrix/client/versions"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_file_may_be_moved_away() {
    let installation = logging(|log| format!("class: logging.handlers.WatchedFileHandler, filename: {}", json!(log)));
    let log = place(&installation);
    let server = installation.start();
    get(&installation, "/_matrix/first").await;
    // A request may be answered before it is logged.
    let logged = async {
        while !fs::read_to_string(&log).unwrap().contains("/first") {
            tokio::task::yield_now().await;
        }
    };
    plexus_testkit::within(Duration::from_secs(60), logged).await.expect("the request is logged");
    fs::rename(&log, installation.folder.join("log.1")).unwrap();
    get(&installation, "/_matrix/second").await;
    server.stop();
    let (old, new) =
        (fs::read_to_string(installation.folder.join("log.1")).unwrap(), fs::read_to_string(&log).unwrap());
    assert!(old.contains("/first") && !old.contains("/second"), "{old}");
    assert!(new.contains("/second") && !new.contains("/first"), "{new}");
}
