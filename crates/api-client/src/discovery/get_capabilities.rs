//! GET /_matrix/client/v3/capabilities

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::config::{Config, PasswordLogin};
use plexus_http::{Auth, JsonBody, Requester, State};
use plexus_protocol::rules::RoomVersion;
use plexus_service::DelayedEvents;
use plexus_service::delayed_events::DelayedEventLimits;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    capabilities: Capabilities,
}

#[derive(Serialize)]
struct Capabilities {
    #[serde(rename = "m.room_versions")]
    room_versions: RoomVersions,
    #[serde(rename = "m.change_password")]
    change_password: Enabled,
    #[serde(rename = "m.set_displayname")]
    set_displayname: Enabled,
    #[serde(rename = "m.set_avatar_url")]
    set_avatar_url: Enabled,
    #[serde(rename = "m.3pid_changes")]
    third_party_id_changes: Enabled,
    #[serde(rename = "m.get_login_token")]
    get_login_token: Enabled,
    #[serde(rename = "m.forget_forced_upon_leave")]
    forget_forced_upon_leave: Enabled,
    #[serde(rename = "org.matrix.msc4267.forget_forced_upon_leave", skip_serializing_if = "Option::is_none")]
    unstable_forget_forced_upon_leave: Option<Enabled>,
    #[serde(rename = "m.profile_fields")]
    profile_fields: ProfileFields,
    /// Only for administrators.
    #[serde(rename = "m.account_moderation", skip_serializing_if = "Option::is_none")]
    account_moderation: Option<AccountModeration>,
    /// `None`: this server accepts none.
    #[serde(rename = "m.delayed_events", skip_serializing_if = "Option::is_none")]
    delayed_events: Option<DelayedEventsCapability>,
    #[serde(rename = "org.matrix.msc4140.delayed_events", skip_serializing_if = "Option::is_none")]
    unstable_delayed_events: Option<DelayedEventsCapability>,
}

#[derive(Serialize)]
struct RoomVersions {
    default: String,
    available: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct ProfileFields {
    enabled: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disallowed: Vec<&'static str>,
}

#[derive(Serialize)]
struct AccountModeration {
    suspend: bool,
    lock: bool,
}

#[derive(Clone, Copy, Serialize)]
struct DelayedEventsCapability {
    max_delay_ms: u64,
    max_scheduled: u32,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(delayed): State<DelayedEvents>,
) -> JsonBody<Response> {
    JsonBody(Response { capabilities: capabilities(&config, &requester, delayed.limits()) })
}

fn capabilities(config: &Config, requester: &Requester, delayed: DelayedEventLimits) -> Capabilities {
    let max_scheduled = delayed.max_scheduled;
    let delayed_events =
        delayed.max_delay_ms().map(|max_delay_ms| DelayedEventsCapability { max_delay_ms, max_scheduled });
    let (experimental, forgets) = (&config.experimental.experimental_features, config.rooms.forget_rooms_on_leave);
    let set_displayname = config.registration.enable_set_displayname;
    let set_avatar_url = config.registration.enable_set_avatar_url;
    let passwords = &config.passwords.password_config;
    let mut disallowed = Vec::new();
    if !set_displayname {
        disallowed.push("displayname");
    }
    if !set_avatar_url {
        disallowed.push("avatar_url");
    }
    Capabilities {
        room_versions: RoomVersions {
            default: config.server.default_room_version.as_str().to_owned(),
            available: RoomVersion::ALL.iter().map(|version| (version.as_str(), "stable")).collect(),
        },
        change_password: Enabled { enabled: passwords.enabled != PasswordLogin::Disabled && passwords.localdb_enabled },
        set_displayname: Enabled { enabled: set_displayname },
        set_avatar_url: Enabled { enabled: set_avatar_url },
        // This server cannot validate addresses yet.
        third_party_id_changes: Enabled { enabled: false },
        get_login_token: Enabled { enabled: config.sessions.login_via_existing_session.enabled },
        forget_forced_upon_leave: Enabled { enabled: forgets },
        unstable_forget_forced_upon_leave: experimental.msc4267_enabled.then_some(Enabled { enabled: forgets }),
        profile_fields: ProfileFields { enabled: true, disallowed },
        account_moderation: requester.is_admin.then_some(AccountModeration { suspend: true, lock: true }),
        delayed_events,
        unstable_delayed_events: delayed_events,
    }
}
