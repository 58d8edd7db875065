//! Where in the configuration the reason is why a server did not start.

use plexus_base::config::{Config, DatabaseKind, Written};

use super::StartError;
use crate::control_socket::ControlClient;
use crate::tls::TlsError;

/// What the operator reads: what is wrong, and the file and line to change.
/// `port` is that of the command line.
pub fn with_advice(error: &StartError, config: &Config, written: &Written, port: Option<u16>) -> String {
    let mut text = error.to_string();
    if let Some(option) = option(error, config, port) {
        match written.place(&option) {
            Some(place) => text.push_str(&format!(" ({option} is set in {place})")),
            None => text.push_str(&format!(" ({option} is not set)")),
        }
    }
    let in_use = matches!(error, StartError::Bind(_) | StartError::Database(plexus_store::OpenError::InUse(_)));
    if in_use && let Ok(Some(server)) = ControlClient::connect(&config.media.media_store_path) {
        text.push_str(&format!("; this server runs already, as process {}: `plexus stop` ends it", server.process));
    }
    text
}

/// The option that is behind the error.
fn option(error: &StartError, config: &Config, port: Option<u16>) -> Option<String> {
    let name = match error {
        StartError::Bind(error) => {
            let listeners = &config.server.listeners;
            let index = listeners.iter().position(|listener| error.is_about(listener))?;
            if port.is_some() && listeners.get(index)?.port == port {
                return None;
            }
            let member = if listeners.get(index)?.path.is_some() { "path" } else { error.member() };
            return Some(format!("listeners[{index}].{member}"));
        }
        StartError::Key(_) => "signing_key_path",
        StartError::Tls(TlsError::Read { path, .. } | TlsError::Write { path, .. }) => {
            let is_key = config.tls.tls_private_key_path.as_ref() == Some(path);
            if is_key { "tls_private_key_path" } else { "tls_certificate_path" }
        }
        StartError::Tls(TlsError::Pair { .. }) => "tls_certificate_path",
        StartError::Database(_) => match &config.database.database {
            Some(database) if database.name == DatabaseKind::Sqlite => "database.args.database",
            Some(_) => "database.args",
            None => "database_path",
        },
        StartError::DatabaseOptions(_) => "database.args",
        StartError::ServerName { .. } | StartError::Name(_) => "server_name",
        StartError::Media(_) => "media_store_path",
        StartError::NoListener => "listeners",
        StartError::KeyServer { .. } => "trusted_key_servers",
        StartError::OldKey { .. } => "old_signing_keys",
        _ => return None,
    };
    Some(name.to_owned())
}
