use std::path::PathBuf;

use serde_json::Value;

use super::Secret;
use crate::schema::{MapReader, options};

options! {
    /// Application services, and secrets of the server.
    pub struct ApiSection checked by check_api {
        /// What is shown of a room to those invited to it or knocking.
        later room_prejoin_state: RoomPrejoinState,
        /// The list of those event types: the old form.
        later room_invite_state_types: Option<Vec<String>>,
        /// Whether the addresses of administrators are noted for the users they act as.
        later track_puppeted_user_ips: bool = false,
        /// The registration files of application services.
        later app_service_config_files: Vec<PathBuf>,
        /// Whether the addresses of application services are noted for the users they act as.
        later track_appservice_user_ips: bool = false,
        /// Whether the token for an application service is sent in the query as well.
        later use_appservice_legacy_authorization: bool = false,
        /// Whether account validity is part of an account's status.
        later use_account_validity_in_account_status: bool = false,
        /// The secret by which Synapse makes short-lived tokens. Those here are random and kept in the database:
        /// nothing depends on it.
        acts macaroon_secret_key: Option<Secret>,
        /// A file that holds `macaroon_secret_key`.
        acts macaroon_secret_key_path: Option<PathBuf>,
        /// The secret by which links to the terms of `user_consent` are made.
        acts form_secret: Option<Secret>,
        /// A file that holds `form_secret`.
        acts form_secret_path: Option<PathBuf>,
    }
}

fn check_api(mut section: ApiSection, map: &mut MapReader<'_, '_>) -> ApiSection {
    section.macaroon_secret_key = map.secret(
        "macaroon_secret_key",
        section.macaroon_secret_key,
        "macaroon_secret_key_path",
        section.macaroon_secret_key_path.as_deref(),
    );
    section.form_secret = map.secret(
        "form_secret",
        section.form_secret,
        "form_secret_path",
        section.form_secret_path.as_deref(),
    );
    section
}

options! {
    /// What is shown of a room to those invited to it or knocking.
    pub struct RoomPrejoinState {
        /// Whether the usual state events are left out.
        later disable_default_event_types: bool = false,
        /// Further state events: a type, or a list of a type and a state key.
        later additional_event_types: Vec<Value>,
    }
}
