//! Profiles.

pub(crate) mod delete_profile_field;
pub(crate) mod get_profile;
pub(crate) mod get_profile_field;
pub(crate) mod set_profile_field;
#[cfg(test)]
mod tests;

use plexus_base::config::Config;
use plexus_http::room_errors::remote_profile_error;
use plexus_http::{ApiError, RawJson, Requester, require_not_suspended};
use plexus_net::FederationClient;
use plexus_protocol::id::UserId;
use plexus_protocol::json::write_string;
use plexus_rooms::{ProfileError, ProfileScope, Rooms};
use plexus_service::remote_profile;
use serde::Deserialize;

/// The longest name of a field, in bytes (client-server API, "Profiles").
const MAX_KEY: usize = 255;

/// Writes the fields, each with its JSON value, as an object.
fn written<'f>(fields: impl IntoIterator<Item = &'f (String, String)>) -> RawJson {
    let mut out = String::from("{");
    for (at, (field, value)) in fields.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(field, &mut out);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    RawJson(out.into())
}

/// Returns the profile of another server's user, or one field of it.
async fn remote(client: &FederationClient, user: &UserId, field: Option<&str>) -> Result<RawJson, ApiError> {
    let profile = remote_profile(client, user, field).await.map_err(|error| remote_profile_error(&error))?;
    Ok(RawJson(profile.to_json().into()))
}

/// Whether the requester may read the profile.
pub(crate) async fn require_readable(
    config: &Config,
    rooms: &Rooms,
    requester: Option<&Requester>,
    user: &UserId,
) -> Result<(), ApiError> {
    let server = &config.server;
    if !server.require_auth_for_profile_requests && !server.limit_profile_requests_to_users_who_share_rooms {
        return Ok(());
    }
    let requester = requester.ok_or_else(ApiError::missing_token)?;
    if !server.limit_profile_requests_to_users_who_share_rooms || requester.user_id == *user {
        return Ok(());
    }
    let own = rooms.memberships().of(&requester.user_id).await?;
    let theirs = rooms.memberships().of(user).await?;
    let shared = own.joined().any(|room| theirs.joined().any(|other| other == room));
    if shared { Ok(()) } else { Err(ApiError::forbidden("Profile isn't available")) }
}

/// Whether the requester may change the field of the user.
fn require_writable(config: &Config, requester: &Requester, user: &UserId, field: &str) -> Result<(), ApiError> {
    require_not_suspended(requester)?;
    if requester.user_id != *user && !requester.is_admin {
        return Err(ApiError::forbidden("Cannot set another user's profile"));
    }
    if requester.is_guest && field != "displayname" {
        return Err(ApiError::guests_forbidden());
    }
    require_field_name(field)?;
    let enabled = match field {
        "displayname" => config.registration.enable_set_displayname,
        "avatar_url" => config.registration.enable_set_avatar_url,
        _ => true,
    };
    if enabled || requester.is_admin {
        return Ok(());
    }
    Err(ApiError::forbidden("Changing this is disabled on this server"))
}

/// Checks the name of a field: it follows the common namespaced identifier grammar.
pub(crate) fn require_field_name(field: &str) -> Result<(), ApiError> {
    if field.len() > MAX_KEY {
        return Err(ApiError::bad_request("M_KEY_TOO_LARGE", "The name of the field is too long"));
    }
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    let starts_right = field.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_right || !field.bytes().all(allowed) {
        return Err(ApiError::invalid_param("The name of the field is not allowed"));
    }
    Ok(())
}

/// 404 unless the unstable path of fields is served (`msc4133_enabled`).
fn require_unstable_path(config: &Config) -> Result<(), ApiError> {
    if config.experimental.experimental_features.msc4133_enabled { Ok(()) } else { Err(ApiError::unrecognized()) }
}

/// The parameter of the query by which a change of the profile leaves rooms as they are (MSC4069).
#[derive(Debug, Deserialize)]
pub(crate) struct Propagation {
    #[serde(rename = "org.matrix.msc4069.propagate")]
    propagate: Option<bool>,
}

impl Propagation {
    /// Returns where the requester's change of a profile acts.
    fn scope(&self, config: &Config, requester: &Requester) -> ProfileScope {
        let may_inhibit = config.experimental.experimental_features.msc4069_profile_inhibit_propagation;
        let inhibited = may_inhibit && self.propagate == Some(false);
        if inhibited || requester.shadow_banned { ProfileScope::ProfileOnly } else { ProfileScope::WithRooms }
    }
}

fn profile_error(error: ProfileError) -> ApiError {
    match error {
        ProfileError::FieldTooLong(_) => ApiError::invalid_param(error.to_string()),
        ProfileError::TooLarge => ApiError::bad_request("M_PROFILE_TOO_LARGE", "The profile would be too large"),
        ProfileError::Db(error) => error.into(),
    }
}
