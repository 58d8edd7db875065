//! A server and each thing that can be in front of it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use plexus_base::Clock;
use plexus_testkit::{Certificate, Client, TestPlace, TestServer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::program::{Program, ReverseProxy, Upstream};
use crate::binary::temporary_folder;

/// What the contributed files ask for.
pub(super) const BEHIND: &str = "
listeners:
  - port: 8008
    bind_addresses: ['127.0.0.1']
    type: http
    x_forwarded: true
    request_id_header: X-Request-ID
    resources: [{names: [client, federation]}]
max_upload_size: 50M
";

/// Returns a server that expects a reverse proxy.
pub(super) async fn server() -> TestServer {
    TestServer::on(TestPlace::sqlite()).config(BEHIND).start().await
}

/// Where the server listens.
pub(super) fn upstream(server: &TestServer) -> Upstream {
    Upstream::Port(server.url().trim_start_matches("http://").parse().unwrap())
}

/// Where the clients of a server connect to.
pub(super) struct Front {
    /// What is in front of the server.
    pub(super) name: String,
    /// Without a slash at the end.
    pub(super) url: String,
    /// A client that connects to the server itself.
    pub(super) direct: Client,
    pub(super) proxy: Option<ReverseProxy>,
    _server: TestServer,
    /// Where the server's unix socket is, if it has one.
    folder: Option<PathBuf>,
}

impl Drop for Front {
    fn drop(&mut self) {
        // In the temporary folder anyway.
        let _ = self.folder.take().map(fs::remove_dir_all);
    }
}

impl Front {
    /// A server without a proxy: in the clear, and with TLS of its own.
    async fn direct(clock: &Clock, config: &str, tls: bool) -> Self {
        let paper = Certificate::shared();
        let listener = format!(
            "listeners: [{{port: 8008, bind_addresses: ['127.0.0.1'], type: http, tls: {tls}, resources: [{{names: \
             [client, federation]}}]}}]\ntls_certificate_path: {}\ntls_private_key_path: {}\nmax_upload_size: 50M\n",
            paper.certificate().display(),
            paper.key().display(),
        );
        let server = TestServer::on(TestPlace::sqlite()).clock(clock.clone()).config(&listener).config(config);
        let server = server.start().await;
        let url = server.url().to_owned();
        let url = if tls { url.replace("http://127.0.0.1", "https://localhost") } else { url };
        let direct = Client::new(url.clone());
        Self { name: format!("nothing, with TLS: {tls}"), url, direct, proxy: None, _server: server, folder: None }
    }

    async fn proxied(program: Program, clock: &Clock, config: &str) -> Option<Self> {
        let server = TestServer::on(TestPlace::sqlite()).clock(clock.clone()).config(BEHIND).config(config);
        let server = server.start().await;
        let proxy = ReverseProxy::start(program, upstream(&server), &[]).await?;
        Some(Self::behind(proxy, format!("{program:?}"), server))
    }

    /// A server that its proxy reaches through a unix socket.
    pub(super) async fn on_socket(program: Program, config: &str) -> Option<Self> {
        let folder = temporary_folder();
        let socket = folder.join("socket");
        let names = "resources: [{names: [client, federation]}]";
        // The first is the test's own.
        let listeners = format!(
            "listeners: [{{port: 8008, bind_addresses: ['127.0.0.1'], type: http, {names}}}, {{path: '{}', type: \
             http, {names}}}]\nmax_upload_size: 50M\n",
            socket.display(),
        );
        let server = TestServer::on(TestPlace::sqlite()).config(&listeners).config(config).start().await;
        let proxy = ReverseProxy::start(program, Upstream::Socket(socket), &[]).await?;
        let mut front = Self::behind(proxy, format!("{program:?} and a socket"), server);
        front.folder = Some(folder);
        Some(front)
    }

    fn behind(proxy: ReverseProxy, name: String, server: TestServer) -> Self {
        Self {
            name,
            url: proxy.client_url(),
            direct: Client::clone(&server),
            proxy: Some(proxy),
            _server: server,
            folder: None,
        }
    }

    /// Each of them, with a server of its own that has `config`.
    pub(super) async fn all(clock: &Clock, config: &str) -> Vec<Self> {
        let mut fronts = vec![Self::direct(clock, config, false).await, Self::direct(clock, config, true).await];
        for program in Program::ALL {
            fronts.extend(Self::proxied(program, clock, config).await);
        }
        fronts
    }

    pub(super) fn has_tls(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// The value of the Host header.
    pub(super) fn host(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    /// A connection, with TLS if that is spoken.
    pub(super) async fn connect(&self) -> Box<dyn Connection> {
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
        if !self.has_tls() {
            return Box::new(stream);
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(Certificate::shared().certificate()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
    }
}

/// Either end of a connection with or without TLS.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}
