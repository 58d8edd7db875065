//! A whole server in the process, on a free port, and a small client for it.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use plexus_base::config::{self, Config};
use plexus_base::{Clock, Random};
use plexus_net::Purpose;
use plexus_server::{Running, key_file};
use serde_json::{Value, json};

use crate::{TestPlace, places, unique_name};

/// Options every test server starts from; a test's own options replace them one by one.
const DEFAULTS: &str = "
server_name: test.example
listeners:
  - port: 8008
    bind_addresses: ['127.0.0.1']
    type: http
    resources: [{names: [client, federation]}]
enable_registration: true
enable_registration_without_verification: true
registration_shared_secret: shared
report_stats: false
rc_message: &many {per_second: 10000, burst_count: 100000}
rc_registration: *many
rc_login: {address: *many, account: *many, failed_attempts: *many}
rc_joins: {local: *many, remote: *many}
rc_joins_per_room: *many
rc_invites: {per_room: *many, per_user: *many, per_issuer: *many}
rc_media_create: *many
rc_room_creation: *many
rc_reports: *many
rc_profile: *many
rc_user_directory: *many
rc_presence: {per_user: *many}
# Peers are at addresses of this machine, with certificates of their own making; nobody else is asked.
ip_range_whitelist: ['127.0.0.0/8']
federation_verify_certificates: false
trusted_key_servers: []
";

/// A running server; what it stored is removed when this is dropped.
pub struct TestServer {
    running: Option<Running>,
    url: String,
    clock: Clock,
    random: Random,
    config: Config,
    folder: PathBuf,
    /// Held for its removal.
    _place: TestPlace,
}

/// How to start a [`TestServer`].
pub struct TestServerBuilder {
    place: TestPlace,
    clock: Clock,
    random: Random,
    overrides: String,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; null when it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub bytes: Bytes,
}

/// A registered user with a session.
#[derive(Debug, Clone)]
pub struct TestUser {
    /// The user id.
    pub id: String,
    /// The access token.
    pub token: String,
    /// The device of the session.
    pub device_id: String,
}

impl TestServerBuilder {
    /// More of homeserver.yaml; a top-level option replaces the test servers' own.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.overrides.push_str(yaml);
        self.overrides.push('\n');
        self
    }

    /// The server's clock, such as [`Clock::manual`].
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts it.
    pub async fn start(self) -> TestServer {
        let folder = std::env::temp_dir().join(format!("plexus-server-{}", unique_name()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let config = load(&folder, &self.place, &self.overrides);
        key_file::write(&config.signing_key_path(), &key_file::make(&self.random)).expect("a key can be written");
        let mut server = TestServer {
            running: None,
            url: String::new(),
            clock: self.clock,
            random: self.random,
            config,
            folder,
            _place: self.place,
        };
        server.boot().await;
        server
    }
}

/// The configuration: three files, a later one's top-level options replacing an earlier one's.
fn load(folder: &Path, place: &TestPlace, overrides: &str) -> Config {
    let media = format!("media_store_path: {}\n", json!(folder.join("media_store")));
    let parts = [DEFAULTS, &media, &place.homeserver_yaml(), overrides];
    let paths: Vec<PathBuf> = (0..parts.len()).map(|number| folder.join(format!("{number}.yaml"))).collect();
    for (path, text) in paths.iter().zip(parts) {
        fs::write(path, text).expect("the temporary folder can be written");
    }
    let mut config = config::load(&paths, config::Options::default())
        .map(|loaded| loaded.config)
        .unwrap_or_else(|report| panic!("the test's configuration is wrong:\n{report}"));
    for listener in &mut config.server.listeners {
        listener.port = listener.port.map(|_| 0);
    }
    config
}

impl TestServer {
    /// A server on a database of its own in SQLite, as [`TestServer::on`] with [`TestPlace::sqlite`].
    pub async fn sqlite() -> Self {
        Self::on(TestPlace::sqlite()).start().await
    }

    /// A server on each database that this machine has.
    pub async fn on_each() -> Vec<Self> {
        let mut servers = Vec::new();
        for place in places() {
            servers.push(Self::on(place).start().await);
        }
        servers
    }

    /// A server on the database at `place`, to be started with [`TestServerBuilder::start`].
    pub fn on(place: TestPlace) -> TestServerBuilder {
        TestServerBuilder { place, clock: Clock::system(), random: Random::system(), overrides: String::new() }
    }

    async fn boot(&mut self) {
        let (config, clock, random) = (self.config.clone(), self.clock.clone(), self.random.clone());
        let running = Running::start(config, clock, random)
            .await
            .unwrap_or_else(|error| panic!("the server does not start: {error}"));
        let address = running.addresses.first().expect("a server listens somewhere");
        self.url = format!("http://{address}");
        self.running = Some(running);
    }

    /// The server's address, without a slash at the end. A restart changes the port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The server's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration that the server has after the next restart.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Stops the server in order, and keeps what it stored.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Stops the server in order and starts it again on what it stored.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    /// Sends a request with a JSON body, if any, and reads the answer.
    pub async fn request(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let headers = [("Content-Type", "application/json")];
        self.send(method, path, token, &headers, body.unwrap_or_default()).await
    }

    /// Sends any request and reads the answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(body).expect("the test's request is one");
        let answer =
            plexus_net::send(Purpose::OperatorCommand, request).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        Answer {
            status: answer.status.as_u16(),
            headers: answer.headers,
            body: serde_json::from_slice(&answer.body).unwrap_or_default(),
            bytes: answer.body,
        }
    }

    /// GET
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.request(Method::GET, path, Some(token), None).await
    }

    /// POST
    pub async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.request(Method::POST, path, Some(token), Some(body)).await
    }

    /// PUT
    pub async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.request(Method::PUT, path, Some(token), Some(body)).await
    }

    /// DELETE
    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.request(Method::DELETE, path, Some(token), None).await
    }

    /// Registers `@<name>:<server>` with the password `password of <name>`.
    pub async fn register(&self, name: &str) -> TestUser {
        let body = json!({
            "username": name,
            "password": format!("password of {name}"),
            "auth": { "type": "m.login.dummy" },
        });
        self.new_session("/_matrix/client/v3/register", body).await
    }

    /// Logs in a user whom [`Self::register`] made.
    pub async fn log_in(&self, name: &str) -> TestUser {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": name },
            "password": format!("password of {name}"),
        });
        self.new_session("/_matrix/client/v3/login", body).await
    }

    async fn new_session(&self, path: &str, body: Value) -> TestUser {
        let answer = self.request(Method::POST, path, None, Some(body)).await;
        let field = |field: &str| answer.ok()[field].as_str().unwrap_or_default().to_owned();
        TestUser { id: field("user_id"), token: field("access_token"), device_id: field("device_id") }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // In the temporary folder anyway.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Answer {
    /// The body of a 200; panics with what came otherwise.
    pub fn ok(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        &self.body
    }

    /// Status and errcode, for comparing.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["errcode"].as_str().unwrap_or_default())
    }
}
