//! Requests by curl, which speaks HTTP/1.1 and HTTP/2, and shows heads as they come.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Another address of this machine than the one that proxies connect from.
pub(super) const CLIENT: &str = "127.0.0.2";
/// The longest that a request lasts, in seconds.
const MAX_SECONDS: &str = "60";

/// The version of HTTP that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    V1,
    V2,
}

impl Http {
    pub(super) const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// What curl says was spoken.
    pub(super) fn spoken(self) -> &'static str {
        match self {
            Self::V1 => "1.1",
            Self::V2 => "2",
        }
    }
}

/// A request that is not sent yet. Its client is at [`CLIENT`], and accepts every certificate.
pub(super) struct Curl(Command);

/// What curl got.
#[derive(Debug)]
pub(super) struct CurlResponse {
    pub(super) status: u16,
    /// The version of HTTP.
    pub(super) version: String,
    /// How many connections each request opened.
    pub(super) connects: Vec<u32>,
    /// All heads in lower case, those of 1xx responses too.
    pub(super) heads: String,
    pub(super) body: Vec<u8>,
}

impl CurlResponse {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Curl {
    pub(super) fn new(version: Http, url: &str) -> Self {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--include", "--insecure", "--path-as-is", "--noproxy", "*", "--interface", CLIENT])
            .args(["--max-time", MAX_SECONDS, "--write-out", "%{stderr}%{http_version} %{http_code} %{num_connects}\n"])
            .args([if version == Http::V1 { "--http1.1" } else { "--http2" }, url]);
        Self(command)
    }

    pub(super) fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.0.args(args);
        self
    }

    pub(super) fn token(self, token: &str) -> Self {
        self.args(["--header", &format!("Authorization: Bearer {token}")])
    }

    /// POST with a JSON body.
    pub(super) fn post(self, body: &Value) -> Self {
        self.args(["--header", "Content-Type: application/json", "--data", &body.to_string()])
    }

    pub(super) fn send(self) -> CurlResponse {
        self.send_from_stdin(Vec::new())
    }

    /// Sends the request; `input` is what `--upload-file -` sends.
    pub(super) fn send_from_stdin(mut self, input: Vec<u8>) -> CurlResponse {
        let command = self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A server that refuses the body early is as good.
        let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let written: Vec<Vec<&str>> = said.lines().map(|line| line.split(' ').collect()).collect();
        let last = written.last().unwrap_or_else(|| panic!("curl says nothing: {:?}", output.status));
        let (heads, body) = split_heads(&output.stdout);
        CurlResponse {
            status: last[1].parse().unwrap(),
            version: last[0].to_owned(),
            connects: written.iter().map(|line| line[2].parse().unwrap()).collect(),
            heads,
            body,
        }
    }
}

/// Splits what `--include` shows into the heads and the body of the last response.
fn split_heads(mut bytes: &[u8]) -> (String, Vec<u8>) {
    let mut heads = String::new();
    while bytes.starts_with(b"HTTP/") {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        heads.push_str(&String::from_utf8_lossy(&bytes[..end]).to_lowercase());
        bytes = &bytes[end..];
    }
    (heads, bytes.to_vec())
}
