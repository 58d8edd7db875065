//! Delegation with the contributed files: users are at example.com, the server is at matrix.example.com.

use plexus_testkit::{Certificate, ForwardProxy, TestPlace, TestServer};
use serde_json::json;

use super::curl::{Curl, Http};
use super::front::{BEHIND, upstream};
use super::program::{Program, ReverseProxy};

/// Returns a request to one of the names of a site, whose ports lead to the reverse proxy.
fn ask(url: &str, to: u16) -> Curl {
    let (host, port) = url.trim_start_matches("https://").split('/').next().unwrap().split_once(':').unwrap();
    Curl::new(Http::V1, url).args(["--connect-to", &format!("{host}:{port}:127.0.0.1:{to}")])
}

async fn example_com() -> TestServer {
    let config = format!(
        "server_name: example.com\npublic_baseurl: https://matrix.example.com/\n\
         allow_profile_lookup_over_federation: true\n{BEHIND}"
    );
    TestServer::on(TestPlace::sqlite()).config(&config).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_servers_and_clients_find_a_server_that_is_delegated_to() {
    let server = example_com().await;
    let alice = server.register("alice").await;
    for program in Program::ALL {
        let Some(proxy) = ReverseProxy::start(program, upstream(&server), &[]).await else { continue };
        // All that another server knows is where two names lead.
        let network = ForwardProxy::start().await;
        network.name("example.com:443", ([127, 0, 0, 1], proxy.delegation_port()).into());
        network.name("matrix.example.com:443", ([127, 0, 0, 1], proxy.client_port()).into());
        let other = TestServer::on(TestPlace::sqlite()).federating();
        let other = other.config(&format!("https_proxy: 'http://{}'\n", network.address)).start().await;
        let ben = other.register("ben").await;
        let profile = other.get(&format!("/_matrix/client/v3/profile/{}", alice.id), &ben.token).await;
        assert_eq!(profile.ok()["displayname"], "alice", "{program:?}");
        let targets = ["CONNECT example.com:443 HTTP/1.1", "CONNECT matrix.example.com:443 HTTP/1.1"];
        assert_eq!(network.requests(), targets, "{program:?}");

        let found = ask("https://example.com:443/.well-known/matrix/client", proxy.delegation_port());
        let found = found.args(["--cacert", &Certificate::shared().certificate().display().to_string()]).send();
        assert_eq!(
            found.json(),
            json!({ "m.homeserver": { "base_url": "https://matrix.example.com" } }),
            "{program:?}"
        );
        for header in ["access-control-allow-origin: *\r\n", "content-type: application/json"] {
            assert!(found.heads.contains(header), "{program:?}: {}", found.heads);
        }
        let found = ask("https://example.com:443/.well-known/matrix/server", proxy.delegation_port()).send();
        assert!(found.heads.contains("content-type: application/json"), "{program:?}: {}", found.heads);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_delegation_the_federation_port_takes_the_servers_own_name() {
    let server = example_com().await;
    server.register("alice").await;
    for program in Program::ALL {
        let Some(proxy) = ReverseProxy::start(program, upstream(&server), &[]).await else { continue };
        let keys = ask("https://example.com:8448/_matrix/key/v2/server", proxy.federation_port()).send();
        assert_eq!(keys.json()["server_name"], "example.com", "{program:?}: {keys:?}");
        let versions = ask("https://matrix.example.com:443/_matrix/client/versions", proxy.client_port()).send();
        assert!(versions.json()["versions"].is_array(), "{program:?}: {versions:?}");

        // Whatever host a client names, addresses of the server are those of its configuration.
        let login = ask("https://matrix.example.com:443/_matrix/client/v3/login", proxy.client_port());
        let login = login.args(["--header", "X-Forwarded-Host: evil.example"]).post(&json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "password of alice",
        }));
        let login = login.send().json();
        assert_eq!(
            login["well_known"]["m.homeserver"]["base_url"], "https://matrix.example.com/",
            "{program:?}: {login}"
        );
    }
}
