use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::schema::{MapReader, options};

options! {
    /// The keys with which servers sign events and requests.
    pub struct KeysSection checked by check_keys {
        /// The file with this server's signing key. Without it, `<server_name>.signing.key` beside the configuration.
        acts signing_key_path: Option<PathBuf>,
        /// The signing key itself, as in its file; overrides `signing_key_path`.
        acts signing_key: Option<Secret>,
        /// Keys with which this server signed before.
        acts old_signing_keys: BTreeMap<String, OldSigningKey>,
        /// How long other servers may cache this server's keys; this server refreshes their keys after half of that
        /// time.
        later key_refresh_interval: Duration = Duration::from_secs(24 * 3600),
        /// Servers that provide other servers' keys.
        acts trusted_key_servers: Vec<TrustedKeyServer> = vec![TrustedKeyServer::matrix_org()],
        /// Whether to omit the warning that matrix.org is trusted.
        acts suppress_key_server_warning: bool = false,
        /// The file with the keys with which this server, as a trusted key server, signs other servers' keys.
        later key_server_signing_keys_path: Option<PathBuf>,
    }
}

fn check_keys(section: KeysSection, map: &mut MapReader<'_, '_>) -> KeysSection {
    for key_id in section.old_signing_keys.keys() {
        if !key_id.starts_with("ed25519:") {
            let message = format!("found the key id {key_id:?}; allowed is ed25519: and a name");
            map.error("old_signing_keys", message);
        }
    }
    section
}

options! {
    /// A key with which this server signed before.
    pub struct OldSigningKey {
        /// The public key, in base64.
        acts key: String,
        /// When it was last used, in Unix milliseconds.
        acts expired_ts: i64,
    }
}

options! {
    /// A server that provides other servers' keys.
    pub struct TrustedKeyServer {
        /// Its name.
        acts server_name: String,
        /// Its keys, by key id, in base64. Without them its TLS certificate is trusted.
        acts verify_keys: BTreeMap<String, String>,
        /// Whether its responses are accepted without verification.
        acts accept_keys_insecurely: bool = false,
    }
}

impl TrustedKeyServer {
    fn matrix_org() -> Self {
        Self {
            server_name: "matrix.org".to_owned(),
            verify_keys: BTreeMap::new(),
            accept_keys_insecurely: false,
        }
    }
}
