//! Servers that reach others through a forward proxy only: every address of this machine is forbidden to them, and
//! would be needed without it.

mod squid;

use std::process::Command;

use http::Method;
use plexus_testkit::{Certificate, Synapse, TestPlace, TestServer, TestServerBuilder, places};
use serde_json::json;

use crate::binary::{Installation, Server, stderr};
use crate::synapse::{Member, converse, shared_room};
use squid::{CREDENTIALS, Squid};

/// What cannot be connected to directly.
const NOTHING_DIRECTLY: &str = "ip_range_whitelist: []\nip_range_blacklist: ['127.0.0.0/8', '::1/128']\n";

fn behind(builder: TestServerBuilder, proxy: &str) -> TestServerBuilder {
    builder.federating().config(&format!("{NOTHING_DIRECTLY}https_proxy: 'http://{proxy}'\n"))
}

async fn member(server: &TestServer, name: &str) -> Member {
    Member::register(server, server.name(), name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_keys_and_media_go_through_the_proxy() {
    for place in places() {
        let Some(squid) = Squid::start().await else { return };
        let proxy = format!("{CREDENTIALS}@{}", squid.plain);
        let mut here = behind(TestServer::on(place), &proxy).start().await;
        let mut there = behind(TestServer::on(TestPlace::sqlite()), &proxy).start().await;
        let (ann, ben) = (member(&here, "ann").await, member(&there, "ben").await);
        let room = shared_room(&ann, &ben).await;
        converse(&room, &ann, &ben).await;

        let headers = [("Content-Type", "text/plain")];
        let upload = here.send(Method::POST, "/_matrix/media/v3/upload", Some(&ann.user.token), &headers, "hi".into());
        let uri = upload.await.ok()["content_uri"].as_str().unwrap_or_default().replace("mxc://", "");
        let download = ben.get(&format!("v1/media/download/{uri}")).await;
        assert_eq!((download.status, download.bytes.as_ref()), (200, &b"hi"[..]));

        let names = [here.name().to_owned(), there.name().to_owned()];
        here.stop().await;
        there.stop().await;
        let log = squid.stop().await;
        assert!(names.iter().all(|name| log.has_tunnel_to(name)), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synapse_is_reached_through_the_proxy() {
    let (Some(squid), Some(synapse)) = (Squid::start().await, Synapse::shared().await) else { return };
    let proxy = format!("{CREDENTIALS}@{}", squid.plain);
    let mut plexus = behind(TestServer::on(TestPlace::sqlite()), &proxy).start().await;
    let paul = member(&plexus, "paul").await;
    let sara = Member::register(&synapse, &synapse.name(), "sara").await;
    let room = shared_room(&sara, &paul).await;
    converse(&room, &paul, &sara).await;
    plexus.stop().await;
    assert!(squid.stop().await.has_tunnel_to(&synapse.name()));
}

/// What reaches others: the profile of a user of another server.
async fn profile(client: &plexus_testkit::Client, token: &str, of: &Member) -> plexus_testkit::Answer {
    client.get(&format!("/_matrix/client/v3/profile/{}", of.id()), token).await
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_are_reached_without_the_proxy() {
    let there = TestServer::on(TestPlace::sqlite()).federating().start().await;
    let ben = member(&there, "ben").await;
    let port = there.name().rsplit(':').next().unwrap_or_default().to_owned();
    // Nobody listens at this port.
    let nowhere = format!("127.0.0.1:{}", crate::binary::free_port());
    for (exceptions, is_direct) in [
        ("['*']".to_owned(), true),
        ("[localhost]".to_owned(), true),
        (format!("['localhost:{port}']"), true),
        ("['localhost:1', other.example, 10.0.0.0/8]".to_owned(), false),
        ("[]".to_owned(), false),
    ] {
        let builder = TestServer::on(TestPlace::sqlite()).federating();
        let here = builder.config(&format!("https_proxy: {nowhere}\nno_proxy_hosts: {exceptions}\n")).start().await;
        let ann = member(&here, "ann").await;
        let answer = profile(&here, &ann.user.token, &ben).await;
        assert_eq!(answer.status == 200, is_direct, "{exceptions}: {}", answer.status);
    }
}

/// What is logged when the other server was reached: it cannot find the keys of one that nobody can reach.
const REACHED: &str = "refuses with 401: M_UNAUTHORIZED No key";

/// A server of its own process, with the environment's proxies.
struct Behind {
    installation: Installation,
}

impl Behind {
    fn new() -> Self {
        let installation = Installation::new();
        installation.edit("trusted_key_servers:\n  - server_name: matrix.org\n", "trusted_key_servers: []\n");
        let certificate = json!(Certificate::shared().certificate());
        installation.add(&format!(
            "{NOTHING_DIRECTLY}federation_custom_ca_list: [{certificate}]\n\
             enable_registration: true\nenable_registration_without_verification: true\n"
        ));
        Self { installation }
    }

    fn command(&self, environment: &[(&str, &str)]) -> Command {
        let mut command = self.installation.command("serve");
        command.envs(environment.iter().copied());
        command
    }

    /// Starts the server, asks it for a profile of the other server, and stops it. Returns what was logged.
    async fn ask(&self, environment: &[(&str, &str)], about: &Member) -> String {
        let server = Server::spawn(self.command(environment), &self.installation.folder);
        let client = plexus_testkit::Client::new(format!("http://127.0.0.1:{}", self.installation.port));
        let ann = client.register(&format!("ann-{}", plexus_testkit::unique_name())).await;
        assert_eq!(profile(&client, &ann.token, about).await.status, 502);
        stderr(&server.stop())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_a_proxy_with_tls() {
    let Some(squid) = Squid::start().await else { return };
    let there = TestServer::on(TestPlace::sqlite()).federating().start().await;
    let ben = member(&there, "ben").await;
    let behind = Behind::new();
    let proxy = format!("https://{CREDENTIALS}@{}", squid.encrypted);
    let certificate = Certificate::shared().certificate().display().to_string();
    let trusted = [("HTTPS_Proxy", proxy.as_str()), ("SSL_CERT_FILE", &certificate)];
    let log = behind.ask(&trusted, &ben).await;
    assert!(log.contains(REACHED), "{log}");

    // Its certificate is of an authority that nobody here trusts.
    let log = behind.ask(&[("https_proxy", proxy.as_str())], &ben).await;
    let reason = format!("the proxy https://{} fails, and is left alone for 1 s: TLS with it failed", squid.encrypted);
    assert!(log.contains(&reason), "{log}");
    assert!(!log.contains("p%40") && !log.contains("p@ss"), "{log}");

    behind.installation.add("use_insecure_ssl_client_just_for_testing_do_not_use: true\n");
    let log = behind.ask(&[("https_proxy", proxy.as_str())], &ben).await;
    assert!(log.contains(REACHED), "{log}");
    assert!(log.contains("no certificate of other servers and services is checked"), "{log}");
    assert!(squid.stop().await.has_tunnel_to(there.name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_the_proxys_fault() {
    let Some(squid) = Squid::start().await else { return };
    let there = TestServer::on(TestPlace::sqlite()).federating().start().await;
    let ben = member(&there, "ben").await;
    let behind = Behind::new();
    for (credentials, reason) in [
        ("plexus:wrong@", "it does not accept the user name and password (407)"),
        ("", "it asks for a user name and password (407)"),
    ] {
        let proxy = format!("http://{credentials}{}", squid.plain);
        let log = behind.ask(&[("https_proxy", proxy.as_str())], &ben).await;
        assert!(log.contains(&format!("the proxy http://{} fails, and is left alone", squid.plain)), "{log}");
        assert!(log.contains(reason), "{log}");
        assert!(!log.contains("wrong"), "{log}");
        assert!(!log.contains(&format!("{} is backed off", there.name())), "{log}");
    }
    assert!(squid.stop().await.has_refused(there.name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_the_proxy() {
    let Some(squid) = Squid::start().await else { return };
    let behind = Behind::new();
    behind.installation.add("turn_uris: ['turn:127.0.0.1:9?transport=tcp']\n");
    let _server = behind.installation.start();
    for (credentials, outcome, found) in [
        (CREDENTIALS, "ok", "lets https requests pass"),
        ("plexus:wrong", "failed", "it does not accept the user name and password (407)"),
    ] {
        let mut command = behind.installation.command("doctor");
        let proxy = format!("http://{credentials}@{}", squid.plain);
        let output = command.arg("--json").env("https_proxy", proxy).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let check = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check("forward proxy")["outcome"], outcome, "{report:#}");
        assert!(check("forward proxy")["found"].as_str().unwrap().contains(found), "{report:#}");
        assert!(!report.to_string().contains("wrong"), "{report:#}");
        assert_eq!(check("TURN")["outcome"], "failed", "{report:#}");
        // Nobody else can reach it.example.
        assert_eq!(
            (check("reached by other servers")["outcome"].as_str(), output.status.code()),
            (Some("failed"), Some(1))
        );
    }
}

#[test]
fn proxies_that_are_not_http_are_refused_at_the_start() {
    let behind = Behind::new();
    for (name, value, problem) in [
        (
            "HTTPS_PROXY",
            "socks5://user:secret@127.0.0.1:1080",
            "only proxies with http:// and https:// are supported, not socks5://",
        ),
        ("http_proxy", "http://user:secret@:80", "it names no host"),
        ("NO_PROXY", "10.0.0.0/99", "\"10.0.0.0/99\" is neither a host"),
    ] {
        let output = behind.command(&[(name, value)]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains(&format!("the environment variable {name}: {problem}")), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    behind.installation.add("https_proxy: socks5://user:secret@127.0.0.1\n");
    let said = behind.installation.refused();
    assert!(said.contains("homeserver.yaml:") && said.contains(": https_proxy: only proxies with"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}
