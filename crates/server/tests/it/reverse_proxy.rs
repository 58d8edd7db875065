//! A server behind real reverse proxies, each with its contributed configuration.

mod addresses;
mod curl;
mod delegation;
mod exchanges;
mod front;
mod program;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use http::Method;
use plexus_net::percent_encode;
use plexus_testkit::{Certificate, Client, ForwardProxy, Peer, skip};
use serde_json::{Value, json};

use crate::binary::{Installation, Server, stdout};
use front::{server, upstream};
use program::{Program, ReverseProxy, Upstream};

/// Segments of paths that a proxy may be tempted to change.
const AWKWARD: [&str; 20] = [
    "%24abc",
    "$abc",
    "%24a%2Fb%2fc",
    "%24a+b",
    "%24a%2Bb",
    "%24a%20b",
    "%24a%25b",
    "%24a%252Fb",
    "%24a..b",
    "%24..%2F..%2Fx",
    "%24a%2E%2E%2Fb",
    "%24a%2F%2Fb",
    "%24a~b%7Ec",
    "%24a'()*!b",
    "%24%C3%B6",
    "%24a%3Fb%23c",
    "%24a;b=c&d",
    "%24a:b@c",
    "%24a%5Cb",
    "%24a%3a%3A",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_other_servers_sign_arrives_as_it_was_sent() {
    let (server, peer) = (server().await, Peer::start().await);
    for program in Program::ALL {
        let Some(proxy) = ReverseProxy::start(program, upstream(&server), &[]).await else { continue };
        let through = Client::new(proxy.federation_url());
        let segments = AWKWARD.map(|segment| format!("/_matrix/federation/v1/event/{segment}"));
        let queries = AWKWARD.map(|value| {
            format!("/_matrix/federation/v1/query/directory?room_alias=%23{value}:x//y/../z&b=+%20").replace('$', "")
        });
        for path in segments.into_iter().chain(queries) {
            let authorization = peer.authorization(&server, &Method::GET, &path, None);
            let headers = [("Authorization", authorization.as_str())];
            let answer = through.send(Method::GET, &path, None, &headers, Default::default()).await;
            assert_ne!(answer.status, 401, "{program:?}: {path}: {}", answer.body);
            // It is the server that answers.
            assert!(answer.body["errcode"].is_string(), "{program:?}: {path}: {:?}", answer.bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_changes_paths_is_named() {
    let (server, peer) = (server().await, Peer::start().await);
    for (program, edits) in [
        (Program::Nginx, [("proxy_pass http://plexus;", "rewrite ^(.*)$ $1 break;\nproxy_pass http://plexus;")]),
        (Program::Apache, [(" nocanon ", " ")]),
    ] {
        let Some(proxy) = ReverseProxy::start(program, upstream(&server), &edits).await else { continue };
        let through = Client::new(proxy.federation_url());
        let path = "/_matrix/federation/v1/event/%24abc%3Adef";
        let authorization = peer.authorization(&server, &Method::GET, path, None);
        let headers = [("Authorization", authorization.as_str())];
        let answer = through.send(Method::GET, path, None, &headers, Default::default()).await;
        assert_eq!(answer.refusal(), (401, "M_UNAUTHORIZED"), "{program:?}");
        let error = answer.body["error"].as_str().unwrap_or_default();
        assert!(error.contains(&format!("{path} was signed")), "{program:?}: {error}");
        assert!(error.contains("a reverse proxy in front of this server changes the paths"), "{program:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_with_every_character_are_found_through_the_proxy() {
    let server = server().await;
    let alice = server.register("alice").await;
    let room = server.post("/_matrix/client/v3/createRoom", &alice.token, json!({})).await;
    let room = room.ok()["room_id"].as_str().unwrap_or_default().to_owned();
    for program in Program::ALL {
        let Some(proxy) = ReverseProxy::start(program, upstream(&server), &[]).await else { continue };
        let through = Client::new(proxy.client_url());
        let alias = format!("#{program:?}/a//b+c d%25e..f/./g?h&ö:{}", server.name());
        let path = format!("/_matrix/client/v3/directory/room/{}", percent_encode(&alias));
        through.put(&path, &alice.token, json!({ "room_id": room })).await.ok();
        let direct = server.get(&path, &alice.token).await;
        assert_eq!(direct.ok()["room_id"], room, "{program:?}");
        let path = format!("/_matrix/client/v3/rooms/{}/aliases", percent_encode(&room));
        let aliases = through.get(&path, &alice.token).await.ok()["aliases"].clone();
        assert!(aliases.as_array().unwrap().contains(&json!(alias)), "{program:?}: {aliases}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn matrix_nio_logs_in_waits_and_uploads_through_the_proxy() {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/nio");
    let python = clients.join(".venv/bin/python");
    if !python.exists() {
        return skip("matrix-nio", &"tests/clients/install.sh was not run");
    }
    for program in Program::ALL {
        let server = server().await;
        server.register("nina").await;
        let Some(proxy) = ReverseProxy::start(program, upstream(&server), &[]).await else { continue };
        let mut command = Command::new(&python);
        command.arg(clients.join("behind_proxy.py")).args([&proxy.client_url(), "nina", "password of nina"]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.ends_with("ok - all\n"), "{program:?}: {said}");
    }
}

/// A server of its own process behind a proxy, whose federation port is where its name leads.
struct Installed {
    installation: Installation,
    server: Server,
    proxy: ReverseProxy,
}

impl Installed {
    /// `None` when the program is not installed.
    async fn start(program: Program, edits: &[(&str, &str)], x_forwarded: bool) -> Option<Self> {
        let installation = Installation::new();
        let upstream = Upstream::Port(SocketAddr::from(([127, 0, 0, 1], installation.port)));
        let proxy = ReverseProxy::start(program, upstream, edits).await?;
        let name = proxy.federation_url().replace("https://", "");
        installation.edit("server_name: \"it.example\"", &format!("server_name: '{name}'"));
        installation.edit("trusted_key_servers:\n  - server_name: matrix.org\n", "trusted_key_servers: []\n");
        if x_forwarded {
            installation.edit("x_forwarded: false", "x_forwarded: true\n    request_id_header: X-Request-ID");
        }
        installation.add(&format!(
            "public_baseurl: {}\nfederation_custom_ca_list: [{}]\n",
            proxy.client_url(),
            json!(Certificate::shared().certificate())
        ));
        let server = installation.start();
        Some(Self { installation, server, proxy })
    }

    /// Where clients reach the server.
    fn client_url(&self) -> String {
        self.proxy.client_url()
    }

    /// Stops the server. Returns what it printed.
    fn stop(self) -> Output {
        self.server.stop()
    }

    /// The exit code of `plexus doctor`, and what it printed as JSON.
    fn doctor(&self) -> (Option<i32>, Value) {
        let output = self.installation.command("doctor").arg("--json").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let checks = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        (output.status.code(), checks)
    }
}

/// The outcome of a check, and what was found.
fn check<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"));
    (check["outcome"].as_str().unwrap(), check["found"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_wrong_behind_the_contributed_files() {
    for program in Program::ALL {
        let Some(installed) = Installed::start(program, &[], true).await else { continue };
        let (code, report) = installed.doctor();
        assert_eq!(code, Some(0), "{program:?}: {report:#}");
        let checks = report["checks"].as_array().unwrap();
        let looked_at = [
            "database",
            "server",
            "listener",
            "public address",
            "paths of requests",
            "addresses of clients",
            "delegation",
            "reached by other servers",
            "published keys",
        ];
        for name in looked_at {
            assert_eq!(check(&report, name).0, "ok", "{program:?}: {report:#}");
        }
        let is_right = |check: &Value| check["outcome"] == "ok" || check["outcome"] == "skipped";
        assert!(checks.iter().all(|check| is_right(check) || check["name"] == "configuration"), "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_wrong_with_the_proxy() {
    let nginx_header = "proxy_set_header X-Forwarded-For $remote_addr;";
    for (program, edit, x_forwarded, name, found) in [
        (
            Program::Nginx,
            ("proxy_pass http://plexus;", "rewrite ^(.*)$ $1 break;\nproxy_pass http://plexus;"),
            true,
            "paths of requests",
            "a reverse proxy",
        ),
        (Program::Apache, (" nocanon ", " "), true, "paths of requests", "a reverse proxy"),
        (Program::Nginx, (nginx_header, ""), true, "addresses of clients", "clients choose their address"),
        (
            Program::Nginx,
            (nginx_header, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"),
            true,
            "addresses of clients",
            "clients choose their address: the proxy appends",
        ),
        (
            Program::Nginx,
            (nginx_header, "proxy_set_header X-Forwarded-For '';"),
            true,
            "addresses of clients",
            "the proxy does not set X-Forwarded-For: all clients are 127.0.0.1",
        ),
        (
            Program::Nginx,
            (nginx_header, ""),
            false,
            "addresses of clients",
            "passes on what clients claim in X-Forwarded-For: all clients are 127.0.0.1",
        ),
        (
            Program::HaProxy,
            ("http-request set-header X-Forwarded-For %[src]", "http-request set-header X-Forwarded-For %[src]"),
            false,
            "addresses of clients",
            "which is not believed: all clients are 127.0.0.1",
        ),
        (
            Program::Apache,
            ("ProxyPass /_matrix http://", "#ProxyPass /_matrix http://"),
            true,
            "public address",
            "did not arrive at this server",
        ),
    ] {
        let Some(installed) = Installed::start(program, &[edit], x_forwarded).await else { continue };
        let (code, report) = installed.doctor();
        assert_eq!(code, Some(1), "{program:?} {edit:?}: {report:#}");
        let (outcome, text) = check(&report, name);
        assert_eq!(outcome, "failed", "{report:#}");
        assert!(text.contains(found), "{program:?} {edit:?}: {text}");
    }
}

/// What is done to the contributed file for delegation, and what the doctor then finds: an outcome, a part of the text.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_whether_clients_find_the_server_by_its_name() {
    let file = "return 200 '{\"m.homeserver\": {\"base_url\": \"https://matrix.example.com\"}}';";
    let address = "https://example.com/.well-known/matrix/client";
    for (from, to, outcome, found) in [
        ("# Tells clients.", "# Tells clients.", "ok", format!("{address} leads to https://matrix.example.com")),
        (file, "return 404;", "warning", format!("{address} responds with 404")),
        (file, "return 200 'here';", "failed", format!("{address} is not JSON")),
        (file, "return 200 '{}';", "failed", format!("{address} names no m.homeserver.base_url")),
        ("//matrix.example.com\"}", "//old.example.com\"}", "failed", "leads to https://old.example.com".to_owned()),
        ("add_header Access-Control-Allow-Origin *;", "", "failed", "Access-Control-Allow-Origin".to_owned()),
    ] {
        let installation = Installation::new();
        let upstream = Upstream::Port(SocketAddr::from(([127, 0, 0, 1], installation.port)));
        let Some(proxy) = ReverseProxy::start_delegating(Program::Nginx, upstream, &[(from, to)]).await else { return };
        let network = ForwardProxy::start().await;
        network.name("example.com:443", ([127, 0, 0, 1], proxy.delegation_port()).into());
        installation.edit("server_name: \"it.example\"", "server_name: example.com");
        installation.edit("trusted_key_servers:\n  - server_name: matrix.org\n", "trusted_key_servers: []\n");
        installation.add(&format!(
            "public_baseurl: https://matrix.example.com/\nhttps_proxy: 'http://{}'\nfederation_custom_ca_list: [{}]\n",
            network.address,
            json!(Certificate::shared().certificate())
        ));
        let output = installation.command("doctor").arg("--json").output().unwrap();
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let (is, text) = check(&report, "clients find it");
        assert_eq!(is, outcome, "{to}: {report:#}");
        assert!(text.contains(&found), "{to}: {text}");
        assert_eq!(check(&report, "delegation").0, "ok", "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_for_delegation_that_cannot_be_fetched_is_a_warning() {
    let network = ForwardProxy::start().await;
    let installation = Installation::new();
    installation.edit("server_name: \"it.example\"", "server_name: example.com");
    installation.edit("trusted_key_servers:\n  - server_name: matrix.org\n", "trusted_key_servers: []\n");
    installation.add(&format!("https_proxy: 'http://{}'\n", network.address));
    let output = installation.command("doctor").arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    for name in ["delegation", "clients find it"] {
        assert_eq!(check(&report, name).0, "warning", "{report:#}");
    }
}

#[test]
fn the_doctor_skips_what_a_server_named_localhost_cannot_have() {
    let installation = Installation::new();
    installation.edit("server_name: \"it.example\"", "server_name: localhost");
    installation.edit("trusted_key_servers:\n  - server_name: matrix.org\n", "trusted_key_servers: []\n");
    let server = installation.start();
    let output = installation.command("doctor").arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    server.stop();
    assert_eq!(report["ok"], true, "{report:#}");
    for name in ["public address", "reached by other servers", "clients find it"] {
        assert_eq!(check(&report, name).0, "skipped", "{report:#}");
    }
}

#[test]
fn the_doctor_says_that_the_server_does_not_run() {
    let installation = Installation::new();
    let output = installation.command("doctor").output().unwrap();
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED   server: it does not run\n         -> start it"), "{said}");
    assert!(said.contains("homeserver.db is made at the first start\n"), "{said}");
    installation.add("listeners: 7\n");
    let said = stdout(&installation.command("doctor").output().unwrap());
    assert!(said.starts_with("FAILED   configuration: "), "{said}");
}
