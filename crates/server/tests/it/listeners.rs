//! Listeners: what each serves, TLS, unix sockets, proxies.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use http::{Method, Request};
use plexus_base::{Clock, Random};
use plexus_net::http::send_operator_command;
use plexus_server::{Running, StartError};
use plexus_testkit::{Client, TestPlace, TestServer};
use rustix::process::Signal;
use serde_json::json;

use crate::binary::{Installation, Server, free_port, stderr, temporary_folder};

async fn with_listener(listener: &str) -> TestServer {
    let config = format!("listeners: [{listener}]");
    TestServer::on(TestPlace::sqlite()).config(&config).start().await
}

#[tokio::test]
async fn a_start_that_fails_late_leaves_nothing_open() {
    for place in plexus_testkit::places() {
        let mut server = TestServer::on(place).start().await;
        server.stop().await;
        let folder = temporary_folder();
        let (socket, file) = (folder.join("socket"), folder.join("file"));
        std::fs::write(&file, "no folder").unwrap();
        let mut config = server.config().clone();
        config.media.media_store_path = file;
        let mut listener = config.server.listeners[0].clone();
        (listener.port, listener.path) = (None, Some(socket.clone()));
        config.server.listeners.push(listener);
        let refused = Running::start(config, Clock::system(), Random::system()).await.err();
        assert!(matches!(refused, Some(StartError::Media(_))), "{refused:?}");
        assert!(!socket.exists());
        server.restart().await;
        std::fs::remove_dir_all(folder).unwrap();
    }
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

/// Returns the command that runs `plexus serve` with `file` as the one file descriptor that systemd passes. `process`
/// says for which process it is, as a shell writes it: `$$` is the server.
fn serve_with(installation: &Installation, file: impl Into<OwnedFd>, process: &str) -> Command {
    let script = format!("exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID={process}; exec \"$@\"");
    let serve = installation.command("serve");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(serve.get_program()).args(serve.get_args()).stdin(file.into());
    command
}

#[test]
fn sockets_of_systemd_are_used() {
    let installation = Installation::new();
    let socket = TcpListener::bind(("127.0.0.1", installation.port)).unwrap();
    // It waits in the socket until there is a server.
    let mut early = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    write!(early, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();

    let of_another = serve_with(&installation, socket.try_clone().unwrap(), "1").output().unwrap();
    assert!(stderr(&of_another).contains("the port is in use by another process"), "{}", stderr(&of_another));

    let server = Server::spawn(serve_with(&installation, socket, "$$"), &installation.folder);
    let mut response = String::new();
    early.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("OK"), "{response}");
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn what_systemd_passes_must_be_sockets_of_listeners() {
    let installation = Installation::new();
    let refusal = |file: OwnedFd| {
        let output = serve_with(&installation, file, "$$").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let connected = TcpStream::connect(address).unwrap();
    let text = refusal(socket.into());
    assert!(text.contains(&format!("systemd listens on {address} for this server, but no listener")), "{text}");
    for other in [File::open("/dev/null").unwrap().into(), OwnedFd::from(connected)] {
        let text = refusal(other);
        assert!(text.contains("file descriptor 3 of LISTEN_FDS is no TCP socket that listens"), "{text}");
    }
}

#[test]
fn a_socket_of_systemd_that_is_in_the_way_of_a_listener_is_named() {
    let installation = Installation::new();
    // ListenStream= with a port alone; not on machines without IPv6.
    let Ok(socket) = TcpListener::bind(("::", installation.port)) else { return };
    let address = socket.local_addr().unwrap();
    let output = serve_with(&installation, socket, "$$").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains(&format!("systemd listens on {address} for this server, but no listener")), "{text}");
}

#[test]
fn more_sockets_of_systemd_than_are_possible_are_refused() {
    let installation = Installation::new();
    let serve = installation.command("serve");
    let mut command = Command::new("sh");
    command.args(["-c", "export LISTEN_FDS=65 LISTEN_PID=$$; exec \"$@\"", "sh"]);
    let output = command.arg(serve.get_program()).args(serve.get_args()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("LISTEN_FDS names 65 file descriptors"), "{}", stderr(&output));
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

/// Writes a certificate for localhost and its key, as a renewal does.
fn write_certificate(installation: &Installation) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(installation.folder.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(installation.folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
}

/// Whether a client that trusts the installation's present certificate alone reaches the server.
fn is_trusted(installation: &Installation) -> bool {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--noproxy", "*", "--max-time", "30", "--cacert"]);
    command.arg(installation.folder.join("tls.crt")).arg(format!("https://localhost:{}/health", installation.port));
    command.status().unwrap().success()
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart() {
    let installation = Installation::new();
    installation.edit("tls: false", "tls: true");
    let path = |name: &str| installation.folder.join(name).display().to_string();
    installation.add(&format!(
        "tls_certificate_path: {}\ntls_private_key_path: {}\n",
        path("tls.crt"),
        path("tls.key")
    ));
    write_certificate(&installation);
    let server = installation.start();
    assert!(is_trusted(&installation));
    write_certificate(&installation);
    assert!(!is_trusted(&installation), "the old one is in use until the signal");
    server.signal(Signal::HUP);
    assert!(server.notification().starts_with("RELOADING=1"));
    assert_eq!(server.notification(), "READY=1");
    assert!(is_trusted(&installation));
}

/// A server whose name leads to a listener with TLS of its own, for which nothing but `tls: true` is configured.
fn with_certificate_of_its_own() -> (Installation, Server, String) {
    let installation = Installation::new();
    let name = format!("localhost:{}", free_port());
    let port = name.trim_start_matches("localhost:");
    installation.edit("server_name: \"it.example\"", &format!("server_name: '{name}'"));
    installation.edit("trusted_key_servers:\n  - server_name: matrix.org\n", "trusted_key_servers: []\n");
    installation.edit(
        "listeners:\n",
        &format!(
            "listeners:\n  - {{port: {port}, bind_addresses: ['127.0.0.1'], type: http, tls: true, \
             resources: [{{names: [client, federation]}}]}}\n"
        ),
    );
    installation.add(
        "federation_verify_certificates: false\nip_range_whitelist: ['127.0.0.0/8']\n\
         enable_registration: true\nenable_registration_without_verification: true\n",
    );
    let server = installation.start();
    (installation, server, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_self_signed_certificates_federate_without_checks() {
    let (here, there) = (with_certificate_of_its_own(), with_certificate_of_its_own());
    let client = |installation: &Installation| Client::new(format!("http://127.0.0.1:{}", installation.port));
    let (ann, ben) = (client(&here.0).register("ann").await, client(&there.0).register("ben").await);
    assert_eq!(ben.id, format!("@ben:{}", there.2));
    let path = format!("/_matrix/client/v3/profile/{}", ben.id);
    // The profile is answered to a signed request, for which the other server fetches the keys of this one.
    assert_eq!(client(&here.0).get(&path, &ann.token).await.ok()["displayname"], "ben");

    let keys = format!("https://{}/_matrix/key/v2/server", here.2);
    let keys = send_operator_command(Request::get(keys).body(Default::default()).unwrap()).await.unwrap();
    let keys: serde_json::Value = serde_json::from_slice(&keys.body).unwrap();
    assert_eq!(keys["server_name"], json!(here.2));
}
