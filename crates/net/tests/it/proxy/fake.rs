//! A forward proxy that does what a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a proxy does with a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Manners {
    /// Passes it on, if it has these credentials: `user:password` in base64.
    PassOn(Option<&'static str>),
    /// Responds with this head.
    Respond(&'static str),
    /// Says nothing.
    Silence,
}

/// A forward proxy, which alone knows where names lead. Stops when dropped.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    manners: Mutex<Manners>,
    /// `host:port` to an address of this machine.
    names: Mutex<HashMap<String, SocketAddr>>,
    /// The heads of requests.
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(super) async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    pub(super) async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let manners = Mutex::new(Manners::PassOn(None));
        let shared = Arc::new(Shared {
            manners,
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

    pub(super) fn name(&self, host_port: &str, address: SocketAddr) {
        self.shared.names.lock().insert(host_port.to_owned(), address);
    }

    pub(super) fn behave(&self, manners: Manners) {
        *self.shared.manners.lock() = manners;
    }

    /// The first lines of the requests it got.
    pub(super) fn requests(&self) -> Vec<String> {
        self.shared.heads.lock().iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    pub(super) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().clone()
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await?);
            }
            let head = String::from_utf8(head).unwrap();
            self.heads.lock().push(head.clone());
            let manners = self.manners.lock().clone();
            match manners {
                Manners::Silence => return std::future::pending().await,
                Manners::Respond(text) => return client.write_all(text.as_bytes()).await,
                Manners::PassOn(Some(credentials))
                    if !head
                        .to_lowercase()
                        .contains(&format!("proxy-authorization: basic {credentials}").to_lowercase()) =>
                {
                    return client.write_all(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n").await;
                }
                Manners::PassOn(_) => {}
            }
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
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
