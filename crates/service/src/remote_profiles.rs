//! Profiles of other servers' users.

use plexus_net::federation::api::query::get_profile_information;
use plexus_net::{FederationClient, FederationError};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;

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
    let mut profile = get_profile_information::call(client, &server, user, field).await?;
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
