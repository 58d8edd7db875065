//! A whole server in the process, on a free port.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use plexus_base::config::{self, Config};
use plexus_base::{Clock, Random};
use plexus_server::{ConnectionLimits, Inherited, Running, key_file};
use plexus_store::Database;
use serde_json::json;

pub use crate::client::{Answer, TestUser};

use crate::client::{Client, Inspector};
use crate::link::{Certificate, Link};
use crate::{TestPlace, places, specification, unique_name};

/// Options of every test server; a test's own options replace them one by one.
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

/// More connections than any test opens.
const MANY_CONNECTIONS: u32 = 10_000;

/// A running server; its data is removed on drop. Derefs to a client of it. With `PLEXUS_TEST_LOG` in the environment
/// it logs; responses that the specification does not describe are written to the file named by
/// `PLEXUS_ANSWER_PROBLEMS`.
pub struct TestServer {
    running: Option<Running>,
    client: Client,
    /// The link through which it federates.
    link: Option<Link>,
    clock: Clock,
    random: Random,
    config: Config,
    connections: ConnectionLimits,
    folder: PathBuf,
    place: TestPlace,
}

/// Builds a [`TestServer`].
pub struct TestServerBuilder {
    place: TestPlace,
    clock: Clock,
    random: Random,
    overrides: String,
    connections: ConnectionLimits,
    link: Option<Link>,
    /// The registration files of application services.
    app_services: Vec<String>,
}

impl TestServerBuilder {
    /// Adds an application service by its registration file.
    #[must_use]
    pub fn app_service(mut self, registration: String) -> Self {
        self.app_services.push(registration);
        self
    }

    /// Limits the number of open connections.
    #[must_use]
    pub fn connections(mut self, limits: ConnectionLimits) -> Self {
        self.connections = limits;
        self
    }

    /// Adds to homeserver.yaml; a top-level option replaces that of the test servers.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.overrides.push_str(yaml);
        self.overrides.push('\n');
        self
    }

    /// Sets the server's clock, such as [`Clock::manual`].
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes other servers reach it as `localhost` and a port, over TLS with a certificate that [`Synapse`]s trust, as
    /// it trusts theirs; the connections go through a [`Link`].
    ///
    /// [`Synapse`]: crate::Synapse
    #[must_use]
    pub fn federating(mut self) -> Self {
        let (link, paper) = (Link::new(), Certificate::shared());
        let tls =
            "port: 8448, bind_addresses: ['127.0.0.1'], type: http, tls: true, resources: [{names: [federation]}]";
        let client = "port: 8008, bind_addresses: ['127.0.0.1'], type: http, resources: [{names: [client]}]";
        self.overrides.push_str(&format!(
            "server_name: '{}'\nlisteners: [{{{client}}}, {{{tls}}}]\n{}",
            link.name(),
            paper.homeserver_yaml()
        ));
        self.overrides.push_str(
            "federation_verify_certificates: true
federation: {destination_min_retry_interval: 1s, destination_max_retry_interval: 2s, client_timeout: 60s}
allow_public_rooms_over_federation: true
room_list_publication_rules: [{action: allow}]
",
        );
        self.link = Some(link);
        self
    }

    /// Starts it.
    pub async fn start(self) -> TestServer {
        let folder = std::env::temp_dir().join(format!("plexus-server-{}", unique_name()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let mut overrides = self.overrides;
        if !self.app_services.is_empty() {
            let paths = (0..self.app_services.len()).map(|number| folder.join(format!("app-service-{number}.yaml")));
            let paths: Vec<PathBuf> = paths.collect();
            for (path, registration) in paths.iter().zip(&self.app_services) {
                fs::write(path, registration).expect("the temporary folder can be written");
            }
            overrides.push_str(&format!("app_service_config_files: {}\n", json!(paths)));
        }
        let config = load(&folder, &self.place, &overrides);
        key_file::write(&config.signing_key_path(), &key_file::make(&self.random)).expect("a key can be written");
        let mut server = TestServer {
            running: None,
            client: Client::new(String::new()),
            link: self.link,
            clock: self.clock,
            random: self.random,
            config,
            connections: self.connections,
            folder,
            place: self.place,
        };
        server.boot().await;
        server
    }
}

/// Loads the configuration from three files; top-level options of a later one replace those of an earlier one.
fn load(folder: &Path, place: &TestPlace, overrides: &str) -> Config {
    let media = format!("media_store_path: {}\n", json!(folder.join("media_store")));
    let parts = [DEFAULTS, &media, &place.homeserver_yaml(), overrides];
    let paths: Vec<PathBuf> = (0..parts.len()).map(|number| folder.join(format!("{number}.yaml"))).collect();
    for (path, text) in paths.iter().zip(parts) {
        fs::write(path, text).expect("the temporary folder can be written");
    }
    let mut config = config::load(&paths, config::Options::default())
        .map_or_else(|report| panic!("the test's configuration is wrong:\n{report}"), |loaded| loaded.config);
    for listener in &mut config.server.listeners {
        listener.port = listener.port.map(|_| 0);
    }
    config
}

impl TestServer {
    /// Starts a server on a new SQLite database, like [`TestServer::on`] with [`TestPlace::sqlite`].
    pub async fn sqlite() -> Self {
        Self::on(TestPlace::sqlite()).start().await
    }

    /// Starts a server on each database of this machine.
    pub async fn on_each() -> Vec<Self> {
        let mut servers = Vec::new();
        for place in places() {
            servers.push(Self::on(place).start().await);
        }
        servers
    }

    /// Returns the builder of a server on the database at `place`.
    pub fn on(place: TestPlace) -> TestServerBuilder {
        TestServerBuilder {
            place,
            clock: Clock::system(),
            random: Random::system(),
            overrides: String::new(),
            connections: ConnectionLimits::of(MANY_CONNECTIONS),
            link: None,
            app_services: Vec::new(),
        }
    }

    async fn boot(&mut self) {
        if std::env::var_os("PLEXUS_TEST_LOG").is_some() {
            // Another server of the process may have begun.
            let _ = plexus_base::telemetry::start(None, &self.clock);
        }
        let (config, clock, random) = (self.config.clone(), self.clock.clone(), self.random.clone());
        let running = Running::start_with(config, clock, random, self.connections, Inherited::default())
            .await
            .unwrap_or_else(|error| panic!("the server does not start: {error}"));
        let address = running.addresses.first().expect("a server listens somewhere");
        // A restart changes the port.
        let reporting = || Some(specification::reporting_to(std::env::var_os("PLEXUS_ANSWER_PROBLEMS")?.into()));
        let inspector = self.client.inspector().or_else(reporting);
        self.client = Client::new(format!("http://{address}")).inspected(inspector);
        if let Some(link) = &self.link {
            link.lead_to(*running.addresses.get(1).expect("a server that federates has a second listener"));
        }
        self.running = Some(running);
    }

    /// Makes `inspector` see all responses from now on.
    pub fn inspect(&mut self, inspector: Inspector) {
        self.client = self.client.clone().inspected(Some(inspector));
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.config.server.server_name
    }

    /// Returns the server's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the server's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the configuration for the next restart.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Returns the location of its database, for tests that change it while the server is stopped.
    pub fn place(&self) -> &TestPlace {
        &self.place
    }

    /// Returns the link in front of it.
    ///
    /// # Panics
    /// Unless it was made with [`TestServerBuilder::federating`].
    pub fn link(&self) -> &Link {
        self.link.as_ref().expect("the server federates")
    }

    /// Shuts the server down, and keeps its data.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Shuts the server down, and opens its database.
    ///
    /// # Panics
    /// When the database does not open.
    pub async fn open_database(&mut self) -> Database {
        self.stop().await;
        Database::open(self.place.options()).expect("the database opens")
    }

    /// Returns how many bytes of unverified request bodies the server holds.
    ///
    /// # Panics
    /// When the server has been stopped.
    pub fn unverified_body_bytes(&self) -> usize {
        self.running.as_ref().expect("the server runs").unverified_body_bytes()
    }

    /// Shuts the server down and starts it again on its data.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }
}

impl Deref for TestServer {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It is in the temporary folder anyway.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
