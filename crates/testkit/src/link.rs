//! A network connection between servers: a name that survives restarts, a certificate, and a line that can be cut.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The line to a server: listens as `localhost` on a port of its own, and forwards connections to the server.
pub struct Link {
    port: u16,
    line: watch::Sender<Line>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Line {
    target: Option<SocketAddr>,
    cut: bool,
}

impl Line {
    fn open(self) -> Option<SocketAddr> {
        self.target.filter(|_| !self.cut)
    }
}

impl Link {
    /// Returns a line without a target.
    ///
    /// # Panics
    /// When no port is free.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (line, state) = watch::channel(Line::default());
        // On a separate thread: the servers at its ends may outlive the runtime of the first test.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.expect("a runtime can be made").block_on(pass(listener, state));
        });
        Self { port, line }
    }

    /// Returns the name of the server behind it.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Ends the open connections, and forwards later ones to `target`.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.line.send_modify(|line| line.target = Some(target));
    }

    /// Ends the open connections, and later ones as soon as they are made.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.cut = true);
    }

    /// Forwards connections again.
    pub fn heal(&self) {
        self.line.send_modify(|line| line.cut = false);
    }
}

/// Forwards connections until the link is dropped.
async fn pass(listener: TcpListener, mut state: watch::Receiver<Line>) {
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener becomes one of the runtime's");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = state.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let mut line = state.clone();
        let open = line.borrow_and_update().open();
        if let (Ok((mut inner, _)), Some(target)) = (accepted, open) {
            tokio::spawn(async move {
                let Ok(mut outer) = TcpStream::connect(target).await else { return };
                // However a connection ends, both halves end.
                tokio::select! {
                    _ = copy_bidirectional(&mut inner, &mut outer) => {}
                    _ = line.changed() => {}
                }
            });
        }
    }
}

/// A certificate for `localhost`, `example.com` and `matrix.example.com` that the servers of a test process use and
/// trust.
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Returns the certificate of the test process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Certificate> = OnceLock::new();
        SHARED.get_or_init(|| {
            let names = ["localhost", "example.com", "matrix.example.com"].map(str::to_owned);
            let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
            let folder = std::env::temp_dir().join(format!("plexus-tls-{}", crate::unique_name()));
            let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
            std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
            std::fs::write(&certificate, made.cert.pem()).expect("the temporary folder can be written");
            std::fs::write(&key, made.signing_key.serialize_pem()).expect("the temporary folder can be written");
            Self { certificate, key }
        })
    }

    /// Returns its file, which also serves as the file of trusted authorities.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Returns the file with its private key.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Returns the options that use and trust it.
    pub(crate) fn homeserver_yaml(&self) -> String {
        let (certificate, key) = (json!(self.certificate), json!(self.key));
        format!(
            "tls_certificate_path: {certificate}\ntls_private_key_path: {key}\n\
             federation_custom_ca_list: [{certificate}]\n"
        )
    }
}
