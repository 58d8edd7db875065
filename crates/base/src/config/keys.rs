use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::schema::{MapReader, options};

options! {
    /// The keys by which servers sign events and requests.
    pub struct KeysSection checked by check_keys {
        /// The file with this server's signing key. Without it, `<server_name>.signing.key` beside the configuration.
        acts signing_key_path: Option<PathBuf>,
        /// The signing key itself, as in its file; `signing_key_path` does not count then.
        acts signing_key: Option<Secret>,
        /// Keys this server signed with before.
        acts old_signing_keys: BTreeMap<String, OldSigningKey>,
        /// How long other servers may keep this server's keys; half of that passes until this server fetches theirs
        /// anew.
        later key_refresh_interval: Duration = Duration::from_secs(24 * 3600),
        /// Servers asked for other servers' keys.
        acts trusted_key_servers: Vec<TrustedKeyServer> = vec![TrustedKeyServer::matrix_org()],
        /// Whether not to warn that matrix.org is trusted.
        acts suppress_key_server_warning: bool = false,
        /// The file with the keys with which this server answers for others, as a trusted key server.
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
    /// A key this server signed with before.
    pub struct OldSigningKey {
        /// The public key, in base64.
        acts key: String,
        /// When it was last used, in milliseconds since 1970.
        acts expired_ts: i64,
    }
}

options! {
    /// A server asked for other servers' keys.
    pub struct TrustedKeyServer {
        /// Its name.
        acts server_name: String,
        /// Its keys, by key id, in base64. Without them its TLS certificate is trusted.
        acts verify_keys: BTreeMap<String, String>,
        /// Whether its answers are believed without any check.
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
