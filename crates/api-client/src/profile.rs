//! Profiles.

pub mod delete_profile_field;
pub mod get_profile;
pub mod get_profile_field;
pub mod set_profile_field;

use http::StatusCode;
use plexus_base::config::Config;
use plexus_http::federation::federation_error;
use plexus_http::{ApiError, RawJson, Requester};
use plexus_net::{Call, FederationClient};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::{Object, write_string};
use plexus_rooms::{ProfileError, Rooms};

use crate::remote::percent_encoded;
use crate::room_errors::bad_request;

/// The most of another server's answer about a profile that is read, in bytes: more than a profile may have.
const MAX_REMOTE_PROFILE: usize = 128 * 1024;
/// The longest name of a field, in bytes (client-server API, "Profiles").
const MAX_KEY: usize = 255;

/// The fields, each with its JSON value, as an object.
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

/// What the user's server tells of the profile, or of one field of it.
async fn remote(others: &FederationClient, user: &UserId, field: Option<&str>) -> Result<RawJson, ApiError> {
    let server = ServerName::try_from(user.server_name()).map_err(|_| ApiError::not_found("Profile was not found"))?;
    let field_query = field.map(|field| format!("&field={}", percent_encoded(field))).unwrap_or_default();
    let user = percent_encoded(user.as_str());
    let path = format!("/_matrix/federation/v1/query/profile?user_id={user}{field_query}");
    let call = Call::get(path).max_answer_bytes(MAX_REMOTE_PROFILE);
    let mut profile: Object = others.call_json(&server, call).await.map_err(|error| federation_error(&error))?;
    if let Some(field) = field {
        profile.retain(|name, _| name == field);
        if profile.is_empty() && field != "displayname" && field != "avatar_url" {
            return Err(ApiError::not_found("The profile has no such field"));
        }
    }
    // Some servers write that there is none in this way.
    profile.retain(|name, value| !(value.is_null() && matches!(name, "displayname" | "avatar_url")));
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
    crate::room_errors::require_not_suspended(requester)?;
    if requester.user_id != *user && !requester.is_admin {
        return Err(ApiError::forbidden("Cannot set another user's profile"));
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

/// Field names follow the common namespaced identifier grammar.
pub(crate) fn require_field_name(field: &str) -> Result<(), ApiError> {
    if field.len() > MAX_KEY {
        return Err(bad_request("M_KEY_TOO_LARGE", "The name of the field is too long".to_owned()));
    }
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    let starts_right = field.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_right || !field.bytes().all(allowed) {
        return Err(ApiError::invalid_param("The name of the field is not allowed"));
    }
    Ok(())
}

fn profile_error(error: ProfileError) -> ApiError {
    match error {
        ProfileError::FieldTooLong(_) => ApiError::invalid_param(error.to_string()),
        ProfileError::TooLarge => {
            ApiError::new(StatusCode::BAD_REQUEST, "M_PROFILE_TOO_LARGE", "The profile would be too large")
        }
        ProfileError::Db(error) => error.into(),
    }
}
