//! HTTP/2 by hand: clients that allow nothing to be sent to them, or say two things about the host.

use plexus_base::Clock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::connections::advancing;
use super::*;

const LISTENER: &str =
    "listeners: [{port: 8448, bind_addresses: ['127.0.0.1'], type: http, tls: true, resources: [{names: [client]}]}]";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// The indexed fields `:status: 200` and `:status: 400` (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;
const STATUS_400: u8 = 0x8c;

struct Connection(TlsStream<TcpStream>);

impl Connection {
    /// Opens a connection on which so much of each response may be sent unasked.
    async fn open(server: &TestServer, window: u32) -> Self {
        let certificate = server.config().config_dir.join("test.example.tls.crt");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let address = server.url().strip_prefix("http://").unwrap().to_owned();
        let socket = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("test.example").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
        let mut connection = Self(stream);
        connection.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let initial_window_size = [&[0, 4][..], &window.to_be_bytes()].concat();
        connection.send(SETTINGS, 0, 0, &initial_window_size).await;
        connection
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// A GET with further headers; streams of clients have odd numbers that grow.
    async fn get(&mut self, stream: u32, path: &str, headers: &[(&str, &str)]) {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        // :method GET, :scheme https, :path, :authority
        let mut block = vec![0x82, 0x87, 0x04];
        block.extend(text(path));
        block.push(0x01);
        block.extend(text("test.example"));
        for (name, value) in headers {
            block.push(0x00);
            block.extend([text(name), text(value)].concat());
        }
        self.send(HEADERS, 0x5, stream, &block).await;
    }

    /// The payload of the next frame of a kind; `None` when the connection ends first.
    async fn receive(&mut self, kind: u8) -> Option<Vec<u8>> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            if head[3] == kind {
                return Some(payload);
            }
        }
    }
}

async fn start(clock: &Clock) -> TestServer {
    TestServer::on(TestPlace::sqlite()).clock(clock.clone()).config(LISTENER).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_allows_no_data_is_disconnected() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock).await;
    let mut connection = Connection::open(&server, 0).await;
    connection.get(1, "/_matrix/client/versions", &[]).await;
    assert_eq!(connection.receive(HEADERS).await.unwrap()[0], STATUS_200);
    let (end, took) = advancing(&clock, connection.receive(HEADERS)).await;
    assert_eq!(end, None);
    assert!(took >= Duration::from_secs(60), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_read_all_is_kept() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock).await;
    let mut connection = Connection::open(&server, 65_535).await;
    connection.get(1, "/_matrix/client/versions", &[]).await;
    connection.receive(HEADERS).await.unwrap();
    advancing(&clock, clock.sleep(Duration::from_secs(200))).await;
    connection.get(3, "/_matrix/client/versions", &[]).await;
    assert_eq!(connection.receive(HEADERS).await.unwrap()[0], STATUS_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_is_ended() {
    let clock = Clock::manual(1_800_000_000_000);
    let server = start(&clock).await;
    let mut connection = Connection::open(&server, 0).await;
    assert_eq!(advancing(&clock, connection.receive(HEADERS)).await.0, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_beside_the_authority_is_the_same_or_refused() {
    let server = start(&Clock::system()).await;
    for (hosts, status) in [
        (&["test.example"][..], STATUS_200),
        (&["other.example"], STATUS_400),
        (&["test.example", "test.example"], STATUS_400),
    ] {
        let mut connection = Connection::open(&server, 65_535).await;
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        connection.get(1, "/_matrix/client/versions", &headers).await;
        assert_eq!(connection.receive(HEADERS).await.unwrap()[0], status, "{hosts:?}");
    }
}
