//! How requests and responses may come, without a proxy and through each of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plexus_base::Clock;
use plexus_testkit::{every, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::curl::{Curl, CurlResponse, Http};
use super::front::{Connection, Front};
use super::program::Program;
use crate::binary::temporary_folder;

const VERSIONS: &str = "/_matrix/client/versions";
const UPLOAD: &str = "/_matrix/media/v3/upload";
const MIB: usize = 1024 * 1024;
/// What the contributed files and the servers of these tests permit.
const MAX_UPLOAD_BYTES: usize = 50 * MIB;
/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Each front, and each version of HTTP that it speaks.
async fn fronts_and_versions() -> Vec<(Front, Vec<Http>)> {
    let fronts = Front::all(&Clock::system(), "").await;
    let versions = |front: &Front| if front.has_tls() { Http::ALL.to_vec() } else { vec![Http::V1] };
    fronts.into_iter().map(|front| (versions(&front), front)).map(|(versions, front)| (front, versions)).collect()
}

fn spoken(response: &CurlResponse) -> (&str, u16) {
    (&response.version, response.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_and_head_and_options_are_served() {
    for (front, versions) in fronts_and_versions().await {
        let name = &front.name;
        let url = format!("{}{VERSIONS}", front.url);
        for version in versions {
            let twice = Curl::new(version, &url).args(["--output", "/dev/null", &url]).send();
            assert_eq!((spoken(&twice), &twice.connects[..]), ((version.spoken(), 200), &[1, 0][..]), "{name}");
            assert!(twice.json()["versions"].is_array(), "{name}: {twice:?}");

            let head = Curl::new(version, &url).args(["--head"]).send();
            assert_eq!(spoken(&head), (version.spoken(), 200), "{name}");
            let length = format!("content-length: {}\r\n", twice.body.len());
            assert!(head.heads.contains(&length) && head.body.is_empty(), "{name}: {head:?}");

            let options =
                Curl::new(version, &url).args(["--request", "OPTIONS", "--header", "Origin: https://x"]).send();
            assert_eq!(spoken(&options), (version.spoken(), 200), "{name}");
            let permitted = options.heads.lines().find(|line| line.starts_with("access-control-allow-methods: "));
            assert!(permitted.is_some_and(|line| line.contains("put")), "{name}: {options:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_unknown_length_arrive_whole_after_100_continue() {
    let data: Vec<u8> = (0..3 * MIB).map(|at| (at % 251) as u8).collect();
    for (front, versions) in fronts_and_versions().await {
        let alice = front.direct.register("alice").await;
        for version in versions {
            let upload = Curl::new(version, &format!("{}{UPLOAD}", front.url)).token(&alice.token);
            let upload = upload.args(["--request", "POST", "--upload-file", "-", "--expect100-timeout", "60"]);
            let upload = upload.args(["--header", "Expect: 100-continue", "--header", "Content-Type: text/plain"]);
            let response = upload.send_from_stdin(data.clone());
            assert_eq!(spoken(&response), (version.spoken(), 200), "{}: {response:?}", front.name);
            if version == Http::V1 {
                assert!(response.heads.starts_with("http/1.1 100 continue\r\n"), "{}: {response:?}", front.name);
            }
            let uri = response.json()["content_uri"].as_str().unwrap().replace("mxc://", "");
            let path = format!("/_matrix/client/v1/media/download/{uri}");
            let download = Curl::new(version, &format!("{}{path}", front.url)).token(&alice.token).send();
            assert_eq!((download.status, download.body.len()), (200, data.len()), "{}", front.name);
            assert!(download.body == data, "{}: it came back changed", front.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let folder = temporary_folder();
    let file = folder.join("large");
    fs::File::create(&file).unwrap().set_len(MAX_UPLOAD_BYTES as u64 + 1).unwrap();
    for (front, versions) in fronts_and_versions().await {
        let name = &front.name;
        let alice = front.direct.register("alice").await;
        let is_ours = front.proxy.is_none();
        for version in versions {
            // Of known length, which need not be sent, and of unknown length.
            for source in [file.to_str().unwrap(), "-"] {
                let upload = Curl::new(version, &format!("{}{UPLOAD}", front.url)).token(&alice.token);
                let upload = upload.args(["--request", "POST", "--upload-file", source, "--expect100-timeout", "60"]);
                let upload = upload.args(["--header", "Expect: 100-continue"]);
                let response = upload.send_from_stdin(vec![b'x'; MAX_UPLOAD_BYTES + 1]);
                // The response comes before the end of the body. With HTTP/2 some versions of curl discard such a
                // response, which no client must (RFC 9113, section 8.1), and a proxy that closes the connection at
                // once may take it from the client.
                let may_be_lost = version == Http::V2 || !is_ours;
                if may_be_lost && response.status < 200 {
                    continue;
                }
                assert_eq!(spoken(&response), (version.spoken(), 413), "{name}: {source}: {}", response.heads);
                if is_ours {
                    assert_eq!(response.json()["errcode"], "M_TOO_LARGE", "{name}: {source}");
                }
            }
        }
        let mut stream = front.connect().await;
        let head = format!(
            "GET {VERSIONS} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
            front.host(),
            "x".repeat(200_000)
        );
        // Whoever refuses it may do so before the end.
        let _ = stream.write_all(head.as_bytes()).await;
        let response = read_to_end(&mut stream).await;
        let is_refused = response.starts_with("HTTP/1.1 431") || response.starts_with("HTTP/1.1 400");
        assert!(is_refused || (response.is_empty() && !is_ours), "{name}: {response}");
        let again = Curl::new(Http::V1, &format!("{}{VERSIONS}", front.url)).send();
        assert_eq!(again.status, 200, "{name}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_lasts_as_long_as_the_client_asks() {
    let clock = Clock::manual(1_800_000_000_000);
    for front in Front::all(&clock, "presence: {enabled: false}\n").await {
        let alice = front.direct.register("alice").await;
        let since = front.direct.get("/_matrix/client/v3/sync", &alice.token).await.ok()["next_batch"].clone();
        let mut stream = front.connect().await;
        let ask = |path: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n", front.host(), alice.token)
        };
        // Connections that have had a request may take their time with the next.
        stream.write_all(ask(VERSIONS).as_bytes()).await.unwrap();
        read_response(&mut stream).await;
        let began = clock.monotonic();
        let poll = format!("/_matrix/client/v3/sync?timeout=120000&since={}", since.as_str().unwrap());
        stream.write_all(ask(&poll).as_bytes()).await.unwrap();
        let response = moving(&clock, read_response(&mut stream)).await;
        assert!(response.starts_with("HTTP/1.1 200") && response.contains("next_batch"), "{}: {response}", front.name);
        assert!(clock.monotonic() - began >= Duration::from_secs(120), "{}: {response}", front.name);
    }
}

/// Reads a response with a Content-Length.
async fn read_response(stream: &mut impl Connection) -> String {
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8_lossy(&response).to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap_or_else(|| panic!("{head}"));
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    response.extend(body);
    String::from_utf8_lossy(&response).into_owned()
}

/// Moves the clock on until `done`.
async fn moving<T>(clock: &Clock, done: impl Future<Output = T>) -> T {
    let moving = async {
        let mut looks = every(Duration::from_millis(20));
        loop {
            looks.tick().await;
            clock.advance(Duration::from_secs(1));
        }
    };
    let done = async {
        tokio::select! { done = done => done, () = moving => unreachable!("the clock moves without end") }
    };
    within(PATIENCE, done).await.expect("it must not hang")
}

#[test]
fn the_contributed_files_wait_for_longer_than_any_long_poll() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/reverse-proxy");
    // Caddy waits without end.
    for (program, options) in [
        (Program::Nginx, &["proxy_read_timeout "][..]),
        (Program::Apache, &["timeout="]),
        (Program::HaProxy, &["timeout client ", "timeout server "]),
    ] {
        let text = fs::read_to_string(folder.join(program.file())).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let text = lines.collect::<Vec<_>>().join("\n");
        for option in options {
            let values = text.split(option).skip(1).map(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u64>().unwrap()
            });
            let values: Vec<u64> = values.collect();
            assert!(
                !values.is_empty() && values.iter().all(|seconds| *seconds > 600),
                "{program:?}: {option}{values:?}"
            );
        }
    }
}

/// Sends the bytes of a request one by one.
async fn send_slowly(stream: &mut impl Connection, bytes: &[u8]) {
    let mut ticks = every(Duration::from_millis(2));
    for byte in bytes {
        ticks.tick().await;
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// Reads until the other end closes the connection. Returns what came.
async fn read_to_end(stream: &mut impl Connection) -> String {
    let mut bytes = Vec::new();
    // Some close a connection with TLS without saying so.
    let _ = within(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection must end");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_waited_for() {
    for front in Front::all(&Clock::system(), "").await {
        front.direct.register("alice").await;
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "password of alice",
        })
        .to_string();
        let head = format!(
            "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nConnection: \
             close\r\nContent-Length: {}\r\n\r\n",
            front.host(),
            body.len()
        );
        let mut stream = front.connect().await;
        send_slowly(&mut stream, format!("{head}{body}").as_bytes()).await;
        let response = read_to_end(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{}: {response}", front.name);
        assert!(response.contains("access_token"), "{}: {response}", front.name);
    }
}

/// A request whose client has said all that it has to say.
async fn half_closed(front: &Front, line: &str, token: &str, rest: &str) -> Box<dyn Connection> {
    let mut stream = front.connect().await;
    let host = front.host();
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{rest}");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_gets_its_response_from_us() {
    for front in Front::all(&Clock::system(), "").await {
        let alice = front.direct.register("alice").await;
        let whoami = "GET /_matrix/client/v3/account/whoami";
        let put = format!("PUT /_matrix/client/v3/user/{}/account_data/m.x", alice.id);
        let requests = [(whoami, "\r\n", alice.id.as_str()), (&put, "Content-Length: 9\r\n\r\n{\"a\":\"b\"}", "{}")];
        for (line, rest, body) in requests.iter().cycle().take(40) {
            let mut stream = half_closed(&front, line, &alice.token, rest).await;
            let response = read_to_end(&mut stream).await;
            let is_whole = response.starts_with("HTTP/1.1 200") && response.contains(body);
            // Some proxies take such a client for one that is gone.
            assert!(is_whole || front.proxy.is_some(), "{}: {response:?}", front.name);
        }
        // The body comes after the head, and its end with the end of the stream.
        for _ in 0..if front.proxy.is_none() { 10 } else { 0 } {
            let mut stream = front.connect().await;
            let host = front.host();
            let head = format!("{put} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n", alice.token);
            let head = format!("{head}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut interim = [0; 25];
            stream.read_exact(&mut interim).await.unwrap();
            assert_eq!(interim.as_slice(), b"HTTP/1.1 100 Continue\r\n\r\n");
            stream.write_all(b"9\r\n{\"a\":\"b\"}\r\n0\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let response = read_to_end(&mut stream).await;
            assert!(response.starts_with("HTTP/1.1 200"), "{}: {response:?}", front.name);
        }
        front.direct.get("/_matrix/client/v3/account/whoami", &alice.token).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_of_a_client_that_is_gone_ends() {
    let clock = Clock::manual(1_800_000_000_000);
    for front in Front::all(&clock, "presence: {enabled: false}\n").await {
        let alice = front.direct.register("alice").await;
        let since = front.direct.get("/_matrix/client/v3/sync", &alice.token).await.ok()["next_batch"].clone();
        let line = format!("GET /_matrix/client/v3/sync?timeout=120000&since={}", since.as_str().unwrap());
        let mut stream = half_closed(&front, &line, &alice.token, "\r\n").await;
        if front.proxy.is_none() {
            // No time passes.
            assert_eq!(read_to_end(&mut stream).await, "", "{}", front.name);
        } else {
            moving(&clock, read_to_end(&mut stream)).await;
        }
        let devices: Value = front.direct.get("/_matrix/client/v3/devices", &alice.token).await.ok().clone();
        assert!(devices["devices"].is_array(), "{}", front.name);
    }
}
