//! Names the place in the configuration because of which a server did not start.

use plexus_base::config::{Config, DatabaseKind, Listener, Written};

use crate::control_socket::ControlClient;
use crate::start_error::StartError;
use crate::tls::{self, TlsError};
use crate::{key_file, listen};

/// Returns the text for the operator: the error, and the file and line to change.
/// `port` is that of the command line.
pub(super) fn with_advice(error: &StartError, config: &Config, written: &Written, port: Option<u16>) -> String {
    let mut text = error.to_string();
    if let Some(option) = option(error, config, port) {
        match written.place(&option) {
            Some(place) => text.push_str(&format!(" ({option} is set in {place})")),
            None => text.push_str(&format!(" ({option} is not set)")),
        }
    }
    let in_use = matches!(error, StartError::Bind(_) | StartError::Database(plexus_store::OpenError::InUse(_)));
    if in_use && let Ok(Some(server)) = ControlClient::connect(&config.media.media_store_path, &[]) {
        text.push_str(&format!("; this server runs already, as process {}: `plexus stop` ends it", server.process));
    }
    text
}

/// Returns the option that caused the error.
fn option(error: &StartError, config: &Config, port: Option<u16>) -> Option<String> {
    let name = match error {
        StartError::Bind(error) => {
            let listeners = &config.server.listeners;
            let opened = |listener: &Listener| listen::is_opened(listener, config.metrics.enable_metrics);
            let index = listeners.iter().position(|listener| opened(listener) && error.is_about(listener))?;
            if port.is_some() && listeners.get(index)?.port == port {
                return None;
            }
            let member = if listeners.get(index)?.path.is_some() { "path" } else { error.member() };
            return Some(format!("listeners[{index}].{member}"));
        }
        StartError::Key(_) => key_file::option(config),
        StartError::Tls(TlsError::Make { .. }) => return None,
        StartError::Tls(error) => tls::option_of(error, config),
        StartError::Database(_) => {
            let is_postgres =
                config.database.database.as_ref().is_some_and(|database| database.name == DatabaseKind::Postgres);
            return Some(config.database.option((!is_postgres).then_some("database")));
        }
        StartError::DatabaseOptions(_) => return Some(config.database.option(None)),
        StartError::ServerName { .. } | StartError::Name(_) => "server_name",
        StartError::Media(_) => "media_store_path",
        StartError::NoListener => "listeners",
        StartError::KeyServer { .. } => "trusted_key_servers",
        StartError::OldKey { .. } => "old_signing_keys",
        _ => return None,
    };
    Some(name.to_owned())
}
