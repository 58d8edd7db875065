//! A forward proxy that knows where names lead, and otherwise does what a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a proxy does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyConduct {
    /// Passes it on if it has these credentials, `user:password` in base64, or if none are required.
    PassOn(Option<&'static str>),
    /// Responds with this head.
    Respond(&'static str),
    /// Says nothing.
    Silence,
}

/// A forward proxy, which alone knows where names lead. Stops when dropped.
pub struct ForwardProxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    conduct: Mutex<ProxyConduct>,
    /// `host:port` to an address of this machine.
    names: Mutex<HashMap<String, SocketAddr>>,
    /// The heads of requests.
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ForwardProxy {
    /// Starts a proxy on a free port.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// Starts a proxy at `address`.
    ///
    /// # Panics
    /// When the address is in use.
    pub async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            conduct: Mutex::new(ProxyConduct::PassOn(None)),
            names: Mutex::default(),
            heads: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&of_task);
                tokio::spawn(async move {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.most_open.fetch_max(open, Ordering::SeqCst);
                    drop(shared.serve(stream).await);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared, task }
    }

    /// Makes `host:port` lead to `address`.
    pub fn name(&self, host_port: &str, address: SocketAddr) {
        self.shared.names.lock().insert(host_port.to_owned(), address);
    }

    /// Changes what it does with requests.
    pub fn behave(&self, conduct: ProxyConduct) {
        *self.shared.conduct.lock() = conduct;
    }

    /// Returns the first lines of the requests it got.
    pub fn requests(&self) -> Vec<String> {
        let heads = self.shared.heads.lock();
        heads.iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect()
    }

    /// Returns the heads of the requests it got.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().clone()
    }

    /// Returns how many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns the most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            self.heads.lock().push(head.clone());
            let conduct = self.conduct.lock().clone();
            match conduct {
                ProxyConduct::Silence => return std::future::pending().await,
                ProxyConduct::Respond(text) => return client.write_all(text.as_bytes()).await,
                ProxyConduct::PassOn(Some(credentials)) if !has_credentials(&head, credentials) => {
                    return client.write_all(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n").await;
                }
                ProxyConduct::PassOn(_) => {}
            }
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if method != "CONNECT" {
                // Its own response, over a connection that stays open.
                client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
                continue;
            }
            let Some(address) = self.names.lock().get(target).copied() else {
                return client.write_all(b"HTTP/1.1 503 No such host\r\ncontent-length: 0\r\n\r\n").await;
            };
            let mut upstream = TcpStream::connect(address).await?;
            client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
            copy_bidirectional(&mut client, &mut upstream).await?;
            return Ok(());
        }
    }
}

fn has_credentials(head: &str, credentials: &str) -> bool {
    head.to_lowercase().contains(&format!("proxy-authorization: basic {credentials}").to_lowercase())
}
