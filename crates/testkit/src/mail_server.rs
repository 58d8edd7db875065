//! A real mail server: aiosmtpd's.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long something may take to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mail server. Stops when dropped.
pub struct MailServer {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl MailServer {
    /// Starts a server with the options of `tests/peers/mail_server.py`; `None` if aiosmtpd is not installed
    /// (`tests/peers/install.sh`).
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(options: Value) -> Option<Self> {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers");
        if !peers.join("venv/bin/aiosmtpd").exists() {
            crate::skip("sending mail to a mail server", &"tests/peers/install.sh has not been run");
            return None;
        }
        let mut process = Command::new(peers.join("venv/bin/python"))
            .arg(peers.join("mail_server.py"))
            .arg(options.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python can be started");
        let output = process.stdout.take().expect("its output is piped");
        let mut server = Self { _process: process, lines: BufReader::new(output).lines(), port: 0 };
        server.port = server.line().await.parse().expect("a port");
        Some(server)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns what happened next: a mail, a refusal, STARTTLS, or the end of a connection without a mail.
    ///
    /// # Panics
    /// When nothing happens.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.line().await).expect("a line of JSON")
    }

    async fn line(&mut self) -> String {
        let line = crate::within(PATIENCE, self.lines.next_line()).await.expect("the mail server reports something");
        line.expect("its output can be read").expect("the mail server runs")
    }
}
