//! Profiles of other servers' users.

use plexus_net::{Call, FederationClient, FederationError};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;

use crate::percent_encoding::percent_encoded;

/// The most of another server's response that is read, in bytes: more than a profile may have.
const MAX_RESPONSE_BYTES: usize = 128 * 1024;

/// Why a profile is not known.
#[derive(Debug, thiserror::Error)]
pub enum RemoteProfileError {
    /// The user's server cannot exist.
    #[error("Profile was not found")]
    NoServer,
    /// The profile lacks the field.
    #[error("The profile has no such field")]
    NoField,
    /// The user's server did not return the profile.
    #[error(transparent)]
    Remote(#[from] FederationError),
}

/// Returns the profile that the user's server has, or only `field` of it.
///
/// # Errors
/// See [`RemoteProfileError`].
pub async fn remote_profile(
    client: &FederationClient,
    user: &UserId,
    field: Option<&str>,
) -> Result<Object, RemoteProfileError> {
    let server = ServerName::try_from(user.server_name()).map_err(|_| RemoteProfileError::NoServer)?;
    let field_query = field.map(|field| format!("&field={}", percent_encoded(field))).unwrap_or_default();
    let user = percent_encoded(user.as_str());
    let path = format!("/_matrix/federation/v1/query/profile?user_id={user}{field_query}");
    let call = Call::get(path).max_answer_bytes(MAX_RESPONSE_BYTES);
    let mut profile: Object = client.call_json(&server, call).await?;
    if let Some(field) = field {
        profile.retain(|name, _| name == field);
        if profile.is_empty() && field != "displayname" && field != "avatar_url" {
            return Err(RemoteProfileError::NoField);
        }
    }
    // Some servers write that there is none in this way.
    profile.retain(|name, value| !(value.is_null() && matches!(name, "displayname" | "avatar_url")));
    Ok(profile)
}
