//! A real Synapse as another server, in its own process.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use plexus_base::Random;
use plexus_net::http::send_operator_command;
use plexus_server::key_file;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::client::Client;
use crate::link::{Certificate, Link};
use crate::unique_name;

/// How many times to check whether Synapse has started, every tenth of a second.
const LOOKS: u32 = 1800;
/// How many times it is started when its ports are taken.
const PORTS_TRIED: u32 = 5;

/// Options besides names, ports and paths.
const OPTIONS: &str = "
database: {name: sqlite3, args: {database: homeserver.db}}
signing_key_path: signing.key
media_store_path: media
pid_file: homeserver.pid
log_config: log.yaml
macaroon_secret_key: macaroon
form_secret: form
report_stats: false
bcrypt_rounds: 4
caches: {sync_response_cache_duration: 0s}
enable_registration: true
enable_registration_without_verification: true
federation_verify_certificates: true
ip_range_blacklist: []
federation_ip_range_blacklist: []
trusted_key_servers: []
allow_public_rooms_over_federation: true
room_list_publication_rules: [{action: allow}]
federation: {destination_min_retry_interval: 1s, destination_max_retry_interval: 2s, client_timeout: 60s}
rc_message: &many {per_second: 10000, burst_count: 100000}
rc_registration: *many
rc_login: {address: *many, account: *many, failed_attempts: *many}
rc_joins: {local: *many, remote: *many}
rc_joins_per_room: *many
rc_invites: {per_room: *many, per_user: *many, per_issuer: *many}
rc_room_creation: *many
rc_federation: {window_size: 1000, sleep_limit: 100000, sleep_delay: 1, reject_limit: 100000, concurrent: 100}
";

const LOGGING: &str = "
version: 1
disable_existing_loggers: false
formatters: {plain: {format: '%(asctime)s %(name)s %(levelname)s %(request)s %(message)s'}}
handlers: {file: {class: logging.FileHandler, filename: homeserver.log, formatter: plain}}
root: {level: INFO, handlers: [file]}
";

/// Runs Synapse (`$1` is Python) until standard input ends, also because the test process ends. Keeps its folder (`$2`)
/// only if a line, or `PLEXUS_KEEP` in the environment, says so.
const SCRIPT: &str = r#"
"$1" -m synapse.app.homeserver -c homeserver.yaml </dev/null >out.log 2>&1 &
read -r stay
kill -9 $!
wait
[ -n "$stay$PLEXUS_KEEP" ] || rm -rf "$2"
"#;

/// A Synapse with its own database (SQLite). Derefs to a client of it; other servers reach it through a [`Link`].
pub struct Synapse {
    python: PathBuf,
    folder: PathBuf,
    link: Link,
    client: Client,
    /// The shell whose standard input keeps the process alive.
    keeper: Option<Child>,
}

impl Synapse {
    /// Starts a Synapse; returns `None`, and reports it, when it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Option<Self> {
        let python = installed()?;
        let folder = std::env::temp_dir().join(format!("plexus-synapse-{}", unique_name()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        fs::write(folder.join("log.yaml"), LOGGING).expect("the temporary folder can be written");
        key_file::write(&folder.join("signing.key"), &key_file::make(&Random::system())).expect("a key can be written");
        let mut synapse = Self { python, folder, link: Link::new(), client: Client::new(String::new()), keeper: None };
        synapse.boot().await;
        Some(synapse)
    }

    /// Returns the test process's Synapse, for tests that use only their own users and rooms.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn shared() -> Option<Arc<Self>> {
        static SHARED: OnceCell<Option<Arc<Synapse>>> = OnceCell::const_new();
        SHARED.get_or_init(async || Self::start().await.map(Arc::new)).await.clone()
    }

    /// Returns its name.
    pub fn name(&self) -> String {
        self.link.name()
    }

    /// Returns the link to other servers.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Kills the process, and keeps its data.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            let mut input = keeper.stdin.take().expect("the shell's input is a pipe");
            input.write_all(b"stay\n").expect("the shell reads");
            drop(input);
            keeper.wait().expect("the shell ends");
        }
    }

    /// Starts the process on its data, after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub async fn boot(&mut self) {
        for _ in 0..PORTS_TRIED {
            if self.boots().await {
                return;
            }
            self.kill();
        }
        panic!("Synapse does not start: {}", self.said());
    }

    /// Whether it started; `false` when another process took one of its ports in the meantime.
    async fn boots(&mut self) -> bool {
        let [client, federation] = free_addresses();
        let listener = |address: SocketAddr, tls: bool, resource: &str| {
            json!({
                "port": address.port(),
                "bind_addresses": ["127.0.0.1"],
                "type": "http",
                "tls": tls,
                "resources": [{ "names": [resource] }],
            })
        };
        let listeners = [listener(client, false, "client"), listener(federation, true, "federation")];
        let yaml = format!(
            "server_name: '{}'\nlisteners: {}\n{}{OPTIONS}",
            self.name(),
            json!(listeners),
            Certificate::shared().homeserver_yaml()
        );
        fs::write(self.folder.join("homeserver.yaml"), yaml).expect("the temporary folder can be written");
        let keeper = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&self.python)
            .arg(&self.folder)
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        self.keeper = Some(keeper);
        self.client = Client::new(format!("http://{client}"));
        let healthy = self.healthy().await;
        if healthy {
            self.link.lead_to(federation);
        }
        healthy
    }

    async fn healthy(&self) -> bool {
        let mut looks = crate::every(Duration::from_millis(100));
        for _ in 0..LOOKS {
            looks.tick().await;
            let request = Request::builder().method(Method::GET).uri(format!("{}/health", self.client.url()));
            let request = request.body(Default::default()).expect("the request is one");
            if send_operator_command(request).await.is_ok_and(|answer| answer.status == 200) {
                return true;
            }
            if self.read("out.log").contains("Address already in use") {
                return false;
            }
        }
        panic!("Synapse does not start: {}", self.said());
    }

    /// Returns its log and output.
    pub fn said(&self) -> String {
        ["out.log", "homeserver.log"].map(|name| self.read(name)).concat()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

impl Deref for Synapse {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Synapse {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            // It ends in any case.
            let _ = keeper.wait();
        }
    }
}

/// Returns the Python with Synapse: `PLEXUS_SYNAPSE_PYTHON`, or the one of `tests/peers/install.sh`.
fn installed() -> Option<PathBuf> {
    let python = match std::env::var_os("PLEXUS_SYNAPSE_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/venv/bin/python"),
    };
    if python.exists() {
        return Some(python);
    }
    crate::skip("the conversations with a real Synapse", &"tests/peers/install.sh has not been run");
    None
}

/// Returns two addresses on which nothing listens.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("a bound socket has an address"))
}
