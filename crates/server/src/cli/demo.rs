//! `plexus demo`: three servers of this machine that federate with each other alone, as the trio in Synapse's demo
//! folder.

mod conversation;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use plexus_base::config::{self, Config, Options};
use plexus_base::{Clock, Random, telemetry};
use serde_json::json;

use super::CommandError;
use crate::Running;
use crate::data_dir::{self, New};
use crate::serve::{Signals, raise_file_limit};
use crate::tls;

/// How many servers there are.
const SERVERS: u16 = 3;
/// How far a server's port for other servers is above that for clients.
const FEDERATION: u16 = 400;
/// How long the conversation may take.
const PATIENCE: Duration = Duration::from_secs(60);

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
    #[error("the three servers did not hear each other within {} s; their log is in {}", PATIENCE.as_secs(), .0.display())]
    Silence(PathBuf),
}

/// Starts the three, has them talk, and lets them run until a signal comes.
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
    let told = tokio::select! {
        told = start_and_talk(args, &folder, &mut running) => Some(told),
        () = signals.stop() => None,
    };
    let told = told.map(|told| told.unwrap_or(Err(DemoError::Silence(log).into())));
    if let Some(Ok(())) = told
        && !args.once
    {
        println!("They run until Ctrl-C; their files are in {}", folder.display());
        signals.stop().await;
    }
    for server in running {
        server.stop().await;
    }
    println!("All three have stopped");
    told.unwrap_or(Ok(()))
}

/// Starts the servers, each of which is in `running` from then on, and has them talk; `None` when they do not hear each
/// other.
async fn start_and_talk(
    args: &DemoArgs,
    folder: &Path,
    running: &mut Vec<Running>,
) -> Option<Result<(), CommandError>> {
    let mut places = Vec::new();
    for port in (args.port..).take(usize::from(SERVERS)) {
        match start(folder, port).await {
            Ok(server) => running.push(server),
            Err(error) => return Some(Err(error)),
        }
        let place = conversation::Place { name: name(port), url: url(port) };
        println!("{} serves clients at {}", place.name, place.url);
        places.push(place);
    }
    #[expect(clippy::disallowed_methods, reason = "people wait in real time")]
    let talk = tokio::time::timeout(PATIENCE, conversation::hold(&places)).await.ok()?;
    Some(talk.map_err(CommandError::from))
}

fn name(port: u16) -> String {
    format!("localhost:{}", port + FEDERATION)
}

fn url(port: u16) -> String {
    format!("http://localhost:{port}")
}

/// Starts the server with that port for clients; what it keeps of an earlier time is used.
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

/// The certificate that all servers of the demonstration show and trust, and its key.
fn tls_files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("demo.tls.crt"), folder.join("demo.tls.key"))
}

/// What the demonstration's servers have in place of a new server's options: they know and trust nobody but each other,
/// and anybody on this machine may register.
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

/// Sends the log of all three to a file, and answers where it is: the terminal is for what they say to each other.
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
