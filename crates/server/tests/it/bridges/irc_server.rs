//! An IRC server with one client, whose other users are what the test says (RFC 2812).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::PATIENCE;

/// The server. Stops when dropped.
pub(super) struct IrcServer {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    /// Lines for the client.
    lines: mpsc::UnboundedSender<String>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// The lines that the client has sent.
    received: Mutex<Vec<String>>,
    arrived: Notify,
}

impl Drop for IrcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl IrcServer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (lines, mut for_client) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The client may go; it is the test that notices.
                drop(serve(stream, &of_task, &mut for_client).await);
            }
        });
        Self { address, shared, lines, task }
    }

    /// Sends the client a line.
    pub(super) fn send(&self, line: &str) {
        self.lines.send(line.to_owned()).unwrap();
    }

    /// Waits until the client has sent a line.
    pub(super) async fn wait_for(&self, line: &str) {
        let wait = async {
            loop {
                let arrived = self.shared.arrived.notified();
                if self.shared.received.lock().iter().any(|received| received == line) {
                    return;
                }
                arrived.await;
            }
        };
        let came = plexus_testkit::within(PATIENCE, wait).await;
        assert!(came.is_ok(), "{line:?} has not come, but {:#?}", self.shared.received.lock());
    }
}

async fn serve(
    stream: TcpStream,
    shared: &Shared,
    for_client: &mut mpsc::UnboundedReceiver<String>,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader).lines();
    let mut client = Client { nick: "*".to_owned(), channels: HashSet::new() };
    loop {
        let replies = tokio::select! {
            line = reader.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let replies = client.reply(&line);
                shared.received.lock().push(line);
                shared.arrived.notify_waiters();
                replies
            }
            Some(line) = for_client.recv() => vec![line],
        };
        for line in replies {
            writer.write_all(format!("{line}\r\n").as_bytes()).await?;
        }
    }
}

/// The client.
struct Client {
    nick: String,
    channels: HashSet<String>,
}

impl Client {
    /// Returns the replies to a line of the client.
    fn reply(&mut self, line: &str) -> Vec<String> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let nick = &self.nick;
        match command {
            "NICK" => {
                rest.trim_start_matches(':').clone_into(&mut self.nick);
                Vec::new()
            }
            "CAP" if rest.starts_with("LS") => vec![":irc.test CAP * LS :".to_owned()],
            "CAP" if rest.starts_with("REQ") => vec![":irc.test CAP * NAK :".to_owned()],
            "USER" => vec![format!(":irc.test 001 {nick} :Welcome"), format!(":irc.test 376 {nick} :End of MOTD")],
            "PING" => vec![format!(":irc.test PONG irc.test {rest}")],
            "JOIN" if self.channels.insert(rest.to_owned()) => vec![
                format!(":{nick}!user@host JOIN {rest}"),
                format!(":irc.test 353 {nick} = {rest} :{nick}"),
                format!(":irc.test 366 {nick} {rest} :End of NAMES"),
            ],
            _ => Vec::new(),
        }
    }
}
