//! Listeners: what each serves, TLS, unix sockets, proxies.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use http::{Method, Request};
use plexus_net::http::send_operator_command;
use plexus_testkit::{TestPlace, TestServer};

use crate::binary::temporary_folder;

async fn with_listener(listener: &str) -> TestServer {
    let config = format!("listeners: [{listener}]");
    TestServer::on(TestPlace::sqlite()).config(&config).start().await
}

#[tokio::test]
async fn resources_restrict_what_is_served() {
    let media = "{port: 8008, bind_addresses: ['127.0.0.1'], type: http, resources: [{names: [media]}]}";
    let server = with_listener(media).await;
    let status = async |path: &str| server.request(Method::GET, path, None, None).await.status;
    assert_eq!(status("/health").await, 200);
    assert_eq!(status("/_matrix/client/versions").await, 404);
    assert_eq!(status("/_matrix/client/v1/media/config").await, 401);
}

#[tokio::test]
async fn metrics_say_what_caches_hold_to_listeners_that_serve_them() {
    let listener = |names: &str| {
        format!("{{port: 8008, bind_addresses: ['127.0.0.1'], type: http, resources: [{{names: [{names}]}}]}}")
    };
    let config = format!("enable_metrics: true\nlisteners: [{}, {}]", listener("client, metrics"), listener("client"));
    let server = TestServer::on(TestPlace::sqlite()).config(&config).start().await;
    let user = server.register("alice").await;
    server.post("/_matrix/client/v3/createRoom", &user.token, serde_json::json!({})).await.ok();
    let answer = server.request(Method::GET, "/_synapse/metrics", None, None).await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.trim().parse::<u64>().unwrap()
    };
    assert_eq!(value("plexus_cache_entries{cache=\"rooms\"}"), 1);
    assert_eq!(value("plexus_certificates_verified"), 1);
    assert!(value("plexus_cache_bytes{cache=\"rooms\"}") > 1000, "{text}");

    let closed = with_listener(&listener("metrics")).await;
    let status = closed.request(Method::GET, "/_synapse/metrics", None, None).await.status;
    assert_eq!(status, 404, "metrics are off unless enabled");
}

#[tokio::test]
async fn compression() {
    let client =
        "{port: 8008, bind_addresses: ['127.0.0.1'], type: http, resources: [{names: [client], compress: true}]}";
    let server = with_listener(client).await;
    let path = "/_matrix/client/versions";
    let plain = server.request(Method::GET, path, None, None).await;
    assert!(!plain.headers.contains_key("content-encoding"));
    let gzip = server.send(Method::GET, path, None, &[("Accept-Encoding", "gzip")], Default::default()).await;
    assert_eq!(gzip.headers["content-encoding"], "gzip");
}

#[tokio::test]
async fn tls_makes_a_certificate_of_its_own() {
    let tls = "{port: 8448, bind_addresses: ['127.0.0.1'], type: http, tls: true, resources: [{names: [client]}]}";
    let server = with_listener(tls).await;
    let url = format!("{}/_matrix/client/versions", server.url().replace("http://", "https://"));
    let request = Request::get(url).body(Default::default()).unwrap();
    let answer = send_operator_command(request).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn unix_sockets() {
    let folder = temporary_folder();
    let path = folder.join("socket");
    let listener = format!("{{path: '{}', mode: 0o600, type: http, resources: [{{names: [client]}}]}}", path.display());
    let port = "{port: 8008, bind_addresses: ['127.0.0.1'], type: http, resources: [{names: [client]}]}";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut server = runtime.block_on(with_listener(&format!("{port}, {listener}")));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    write!(stream, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("OK"), "{answer}");
    runtime.block_on(server.stop());
    assert!(!path.exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_proxy_in_front_says_who_the_client_is() {
    let proxied =
        "{port: 8008, bind_addresses: ['127.0.0.1'], type: http, x_forwarded: true, resources: [{names: [client]}]}";
    let server = with_listener(proxied).await;
    let alice = server.register("alice").await;
    let whoami = "/_matrix/client/v3/account/whoami";
    let forwarded = [("X-Forwarded-For", "203.0.113.7")];
    server.send(Method::GET, whoami, Some(&alice.token), &forwarded, Default::default()).await.ok();
    let path = format!("/_matrix/client/v3/devices/{}", alice.device_id);
    let device = server.send(Method::GET, &path, Some(&alice.token), &forwarded, Default::default()).await;
    assert_eq!(device.ok()["last_seen_ip"], "203.0.113.7");
}
