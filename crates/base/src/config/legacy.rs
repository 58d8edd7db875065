//! Options of earlier versions: their replacements, or why they are refused.

use crate::yaml::{Node, Scalar, Value};

/// Returns the message about an option that is not in the schema: `Err` when the server must not start with it, `Ok`
/// when it is ignored.
pub(super) fn explain(option: &str, set_to: &Node) -> Option<Result<String, String>> {
    if option == MAS_BEFORE && is_disabled(set_to) {
        return Some(Ok("ignored: it is not enabled; it was replaced by matrix_authentication_service".to_owned()));
    }
    let refused = REFUSED.iter().find(|(name, _)| *name == option);
    if let Some((_, why)) = refused {
        return Some(Err((*why).to_owned()));
    }
    let ignored = IGNORED.iter().find(|(name, _)| *name == option);
    ignored.map(|(_, why)| Ok((*why).to_owned()))
}

/// Whether an object has `enabled: false`, the default.
fn is_disabled(node: &Node) -> bool {
    let is_false = |node: &Node| matches!(node.value, Value::Scalar(Scalar::Bool { value: false, .. }));
    node.get("enabled").is_none_or(is_false)
}

/// Returns every name above, for the reference page.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    REFUSED.iter().chain(IGNORED).copied()
}

/// The former name of `matrix_authentication_service`.
const MAS_BEFORE: &str = "experimental_features.msc3861";
const BEFORE_LISTENERS: &str = "replaced by listeners; describe the port there";
const MAIN_IN_INSTANCE_MAP: &str = "replaced by instance_map; describe the main process there";

const REFUSED: &[(&str, &str)] = &[
    ("bind_port", BEFORE_LISTENERS),
    ("bind_host", BEFORE_LISTENERS),
    ("unsecure_port", BEFORE_LISTENERS),
    ("no_tls", BEFORE_LISTENERS),
    ("gzip_responses", BEFORE_LISTENERS),
    ("log_file", "replaced by log_config; name the file in a handler there"),
    ("invite_3pid_guest", "guests can no longer be invited by address; remove it"),
    ("trust_identity_server_for_password_resets", "identity servers no longer reset passwords; set email instead"),
    ("account_threepid_delegates.email", "identity servers no longer validate mail addresses; set email instead"),
    ("worker_replication_host", MAIN_IN_INSTANCE_MAP),
    ("worker_replication_port", MAIN_IN_INSTANCE_MAP),
    ("worker_replication_http_port", MAIN_IN_INSTANCE_MAP),
    ("worker_replication_http_tls", MAIN_IN_INSTANCE_MAP),
    (MAS_BEFORE, "replaced by matrix_authentication_service"),
];

const IGNORED: &[(&str, &str)] = &[
    (
        "restrict_public_rooms_to_local_users",
        "ignored: it is the default now; see allow_public_rooms_without_auth and allow_public_rooms_over_federation",
    ),
    ("perspectives", "ignored: replaced by trusted_key_servers"),
    ("no_redirect_stdio", "ignored: output is not redirected here"),
    ("web_client", "ignored: servers no longer have a web client; web_client_location says where one is"),
    ("enable_group_creation", "ignored: spaces have replaced groups"),
    ("uploads_path", "ignored: unfinished uploads are in media_store_path"),
    ("expire_access_token", "ignored: see session_lifetime and refreshable_access_token_lifetime"),
    ("trusted_third_party_id_servers", "ignored: users choose their identity server; see default_identity_server"),
    ("tls_fingerprints", "ignored: servers recognise each other by signing keys and valid certificates"),
    ("tls_dh_params_path", "ignored: current TLS needs no such file"),
];
