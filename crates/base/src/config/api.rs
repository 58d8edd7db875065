use std::path::PathBuf;

use super::Secret;
use crate::schema::{MapReader, Reader, Value, options};
use crate::yaml::Node;

options! {
    /// Application services, and secrets of the server.
    pub struct ApiSection checked by check_api {
        /// Which parts of a room's state invited and knocking users see.
        acts room_prejoin_state: RoomPrejoinState,
        /// The list of those event types: the old form, replaced by `room_prejoin_state`.
        acts room_invite_state_types: Option<Vec<String>>,
        /// Whether the addresses of administrators are recorded for the users they act as.
        later track_puppeted_user_ips: bool = false,
        /// The registration files of application services. They are reread when the server gets SIGHUP.
        acts app_service_config_files: Vec<PathBuf>,
        /// Whether the addresses of application services are recorded for the devices they act as.
        acts track_appservice_user_ips: bool = false,
        /// Whether the token for an application service is also sent in the query.
        acts use_appservice_legacy_authorization: bool = false,
        /// Whether account validity is part of an account's status.
        later use_account_validity_in_account_status: bool = false,
        /// The secret with which Synapse makes short-lived tokens. Here tokens are random and stored in the database,
        /// so the option has no effect.
        acts macaroon_secret_key: Option<Secret>,
        /// A file that holds `macaroon_secret_key`.
        acts macaroon_secret_key_path: Option<PathBuf>,
        /// The secret with which links to the terms of `user_consent` are made.
        acts form_secret: Option<Secret>,
        /// A file that holds `form_secret`.
        acts form_secret_path: Option<PathBuf>,
    }
}

fn check_api(mut section: ApiSection, map: &mut MapReader<'_, '_>) -> ApiSection {
    if map.sets("room_invite_state_types") && map.sets("room_prejoin_state") {
        map.error("room_invite_state_types", "not allowed together with room_prejoin_state");
    }
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
    /// Which parts of a room's state invited and knocking users see.
    pub struct RoomPrejoinState {
        /// Whether the usual state events are left out.
        acts disable_default_event_types: bool = false,
        /// Further state events: a type, or a list of a type and a state key.
        acts additional_event_types: Vec<PrejoinStateEntry>,
    }
}

/// Selects state events of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrejoinStateEntry {
    /// Their type.
    pub event_type: String,
    /// The state key; `None` for all.
    pub state_key: Option<String>,
}

impl PrejoinStateEntry {
    /// Returns the selector of all state events of a type.
    #[must_use]
    pub fn every(event_type: &str) -> Self {
        Self { event_type: event_type.to_owned(), state_key: None }
    }

    /// Returns the selector of the state event of a type with an empty state key.
    #[must_use]
    pub fn only(event_type: &str) -> Self {
        Self { state_key: Some(String::new()), ..Self::every(event_type) }
    }
}

impl Value for PrejoinStateEntry {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let entry = match node.items() {
            [] => node.as_text().map(|event_type| (event_type, None)),
            [event_type, state_key] => event_type.as_text().zip(state_key.as_text().map(Some)),
            _ => None,
        };
        let Some((event_type, state_key)) = entry else {
            return reader.wrong(node, "an event type, or a list of an event type and a state key");
        };
        Some(Self { event_type: event_type.to_owned(), state_key: state_key.map(str::to_owned) })
    }

    fn kind() -> String {
        "string or list".to_owned()
    }
}
