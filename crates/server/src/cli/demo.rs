//! `plexus demo`: three servers on this machine that federate only with each other, like the trio in Synapse's demo
//! folder.

mod conversation;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use plexus_base::config::{self, Config, Options};
use plexus_base::{Clock, Random, telemetry};
use serde_json::json;

use crate::Running;
use crate::command::CommandError;
use crate::data_dir::{self, New};
use crate::open_files::raise_file_limit;
use crate::output;
use crate::signals::Signals;
use crate::tls;

/// How many servers there are.
const SERVERS: u16 = 3;
/// The distance from a server's port for clients to that for other servers.
const FEDERATION: u16 = 400;
/// How long the conversation may take.
const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `plexus demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Where the servers keep their files
    #[arg(long, value_name = "DIR", default_value = "plexus-demo")]
    data_dir: PathBuf,
    /// The first server's port for clients; the others' follow, and those for servers are 400 above
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..=65_133))]
    port: u16,
    /// End once the three have talked
    #[arg(long)]
    once: bool,
}

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the configuration is wrong:\n{0}")]
    Config(String),
    #[error(
        "the three servers did not hear each other within {} s; their log is in {}",
        CONVERSATION_TIMEOUT.as_secs(),
        .0.display()
    )]
    Silence(PathBuf),
}

/// Starts the three servers, lets their users talk, and runs until a signal comes.
///
/// # Errors
/// When one cannot start, or they do not hear each other.
pub(super) fn run(args: &DemoArgs) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(demonstrate(args));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn demonstrate(args: &DemoArgs) -> Result<(), CommandError> {
    let folder = data_dir::folder(&args.data_dir)?;
    let log = log_to_file(&folder)?;
    let mut signals = Signals::new()?;
    raise_file_limit(0);
    let mut running = Vec::new();
    let outcome = tokio::select! {
        outcome = start_and_talk(args, &folder, log, &mut running) => Some(outcome),
        () = signals.stop() => None,
    };
    if let Some(Ok(())) = outcome
        && !args.once
    {
        signals.stop().await;
    }
    for server in running {
        server.stop().await;
    }
    output::line("All three have stopped")?;
    outcome.unwrap_or(Ok(()))
}

/// Starts the servers, adding each to `running`, and lets their users talk.
async fn start_and_talk(
    args: &DemoArgs,
    folder: &Path,
    log: PathBuf,
    running: &mut Vec<Running>,
) -> Result<(), CommandError> {
    let mut places = Vec::new();
    for port in (args.port..).take(usize::from(SERVERS)) {
        running.push(start(folder, port).await?);
        let place = conversation::Place { name: name(port), url: url(port) };
        output::line(format_args!("{} serves clients at {}", place.name, place.url))?;
        places.push(place);
    }
    #[expect(clippy::disallowed_methods, reason = "people wait in real time")]
    let talk = tokio::time::timeout(CONVERSATION_TIMEOUT, conversation::hold(&places)).await;
    talk.unwrap_or_else(|_| Err(DemoError::Silence(log).into()))?;
    if !args.once {
        output::line(format_args!("They run until Ctrl-C; their files are in {}", folder.display()))?;
    }
    Ok(())
}

fn name(port: u16) -> String {
    format!("localhost:{}", port + FEDERATION)
}

fn url(port: u16) -> String {
    format!("http://localhost:{port}")
}

/// Starts the server with this port for clients. Files of an earlier run are used again.
async fn start(folder: &Path, port: u16) -> Result<Running, CommandError> {
    let config = configuration(folder, port)?;
    Ok(Running::start(config, Clock::system(), Random::system()).await?)
}

fn configuration(folder: &Path, port: u16) -> Result<Config, CommandError> {
    let own = folder.join(port.to_string());
    let files = [own.join("homeserver.yaml"), own.join("demo.yaml")];
    let [homeserver, demo] = &files;
    if !homeserver.exists() {
        data_dir::create(&New {
            target: homeserver,
            config_dir: &own,
            data_dir: &own,
            server_name: &name(port),
            report_stats: false,
            open_ports: false,
            port: None,
        })?;
    }
    let (certificate, key) = tls_files(folder);
    if !certificate.exists() {
        tls::make_self_signed(&certificate, &key, &name(port))?;
    }
    data_dir::write_whole(demo, &options(folder, port))?;
    let loaded = config::load(&files, Options::default());
    Ok(loaded.map_err(|report| DemoError::Config(report.to_string()))?.config)
}

/// Returns the paths of the certificate that all servers of the demonstration use and trust, and of its key.
fn tls_files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("demo.tls.crt"), folder.join("demo.tls.key"))
}

/// Returns the options in which the demonstration's servers differ from a new server: they know and trust only each
/// other, and anybody on this machine may register.
fn options(folder: &Path, port: u16) -> String {
    let listener = |port: u16, tls: bool| {
        let resources = json!([{ "names": ["client", "federation"] }]);
        json!({ "port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": tls, "resources": resources })
    };
    let (certificate, key) = tls_files(folder);
    let options = json!({
        "listeners": [listener(port, false), listener(port + FEDERATION, true)],
        "public_baseurl": url(port),
        "tls_certificate_path": certificate,
        "tls_private_key_path": key,
        "federation_custom_ca_list": [certificate],
        "ip_range_whitelist": ["127.0.0.0/8", "::1/128"],
        "trusted_key_servers": [],
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "allow_public_rooms_over_federation": true,
    });
    // JSON is YAML.
    format!("{options:#}\n")
}

/// Sends the log of all three to a file, and returns its path: the terminal is for what the users say to each other.
fn log_to_file(folder: &Path) -> Result<PathBuf, CommandError> {
    let log = folder.join("demo.log");
    let handler = json!({ "class": "logging.FileHandler", "filename": log, "formatter": "precise" });
    let formatter = json!({ "format": "%(asctime)s - %(name)s - %(levelname)s - %(message)s" });
    let config = json!({
        "version": 1,
        "formatters": { "precise": formatter },
        "handlers": { "file": handler },
        "root": { "level": "INFO", "handlers": ["file"] },
    });
    let path = folder.join("log.config");
    data_dir::write_whole(&path, &format!("{config:#}\n"))?;
    telemetry::start(Some(&path), &Clock::system())?;
    Ok(log)
}
