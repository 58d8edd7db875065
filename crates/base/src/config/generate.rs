//! Files for a new installation.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Config, Secret};
use crate::Random;

/// The number of letters and digits of a new secret: 297 bits.
const SECRET_LENGTH: usize = 50;

const TEMPLATE: &str = include_str!("generate/homeserver.yaml");

/// The parameters of a new installation.
#[derive(Debug, Clone, Copy)]
pub struct Generate<'a> {
    /// The server's name.
    pub server_name: &'a str,
    /// Whether statistics are sent to the Matrix.org Foundation.
    pub report_stats: bool,
    /// The folder of the configuration and the signing key.
    pub config_dir: &'a Path,
    /// The folder of the database and media.
    pub data_dir: &'a Path,
    /// The port of its listener.
    pub port: u16,
}

/// The port of a new installation's listener, unless its name has one.
pub const DEFAULT_PORT: u16 = 8008;

const LOG_CONFIG: &str = include_str!("generate/log.config");

/// Returns the content of the `log_config` file of a new installation, which logs to `log_file`.
pub fn generate_log_config(log_file: &Path) -> String {
    fill(LOG_CONFIG, |name| match name {
        "log_file" => quoted(&log_file.to_string_lossy()),
        _ => unreachable!("the template names nothing else"),
    })
}

/// Returns the `homeserver.yaml` of a new installation, with new secrets. Synapse can load it too. Folders have
/// absolute paths.
pub fn generate(new: &Generate<'_>, random: &Random) -> String {
    let server_name = new.server_name;
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let data_dir = absolute(new.data_dir);
    let config_dir = absolute(new.config_dir);
    let signing_key = config_dir.join(format!("{server_name}.signing.key"));
    let path = |name: &str| quoted(&data_dir.join(name).to_string_lossy());
    fill(TEMPLATE, |name| match name {
        "server_name" => quoted(server_name),
        "port" => new.port.to_string(),
        "pid_file" => path("homeserver.pid"),
        "database" => path("homeserver.db"),
        "media" => path("media_store"),
        "signing_key" => quoted(&signing_key.to_string_lossy()),
        "log_config" => quoted(&config_dir.join("log.config").to_string_lossy()),
        "report_stats" => new.report_stats.to_string(),
        "secret" => quoted(&random.alphanumeric(SECRET_LENGTH)),
        _ => unreachable!("the template names nothing else"),
    })
}

/// Returns the template with each `{name}` replaced by its value.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut parts = template.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        text.push_str(&value(name));
        text.push_str(rest);
    }
    text
}

/// Returns arbitrary text as a YAML string: JSON strings are YAML strings.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A file with a new secret could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a new secret to {path}: {source}")]
pub struct SecretFileError {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be written.
    pub source: std::io::Error,
}

impl Config {
    /// Creates the file of `registration_shared_secret_path` if it does not exist, as Synapse does at its first start,
    /// readable only by its owner. Returns the path of a created file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn generate_missing_secrets(&mut self, random: &Random) -> Result<Option<PathBuf>, SecretFileError> {
        let Some(path) = self.registration.registration_shared_secret_path.clone() else {
            return Ok(None);
        };
        if self.registration.registration_shared_secret.is_some() {
            return Ok(None);
        }
        let secret = random.alphanumeric(SECRET_LENGTH);
        match write_private(&path, &secret) {
            Ok(()) => {
                self.registration.registration_shared_secret = Some(Secret::new(secret));
                Ok(Some(path))
            }
            Err(source) => Err(SecretFileError { path, source }),
        }
    }
}

fn write_private(path: &Path, secret: &str) -> std::io::Result<()> {
    let mut file = crate::private::create_new(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}
