//! What server administrators do with accounts through their clients.

pub(crate) mod get_user_info;
pub(crate) mod is_user_locked;
pub(crate) mod is_user_suspended;
pub(crate) mod lock_user;
pub(crate) mod suspend_user;

use plexus_accounts::{Administration, AdministrationError};
use plexus_http::{ApiError, Requester};
use plexus_protocol::id::UserId;
use plexus_store::repo::users::User;
use serde::{Deserialize, Serialize};

/// Whether an account is locked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Locked {
    locked: bool,
}

/// Whether an account is suspended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Suspended {
    suspended: bool,
}

/// Returns the account that an administrator asks about: an active one of this server, and nobody else who is an
/// administrator.
async fn account(administration: &Administration, requester: &Requester, user_id: &UserId) -> Result<User, ApiError> {
    let (found, user) = administration.find(user_id.as_str()).await.map_err(administration_error)?;
    if found != *user_id || user.deactivated {
        return Err(not_found());
    }
    if user.is_admin && requester.user_id != *user_id {
        return Err(ApiError::forbidden("The user is a server admin"));
    }
    Ok(user)
}

/// As [`account`], for changes: nobody changes their own.
async fn account_to_change(
    administration: &Administration,
    requester: &Requester,
    user_id: &UserId,
) -> Result<(), ApiError> {
    account(administration, requester, user_id).await?;
    if requester.user_id == *user_id {
        return Err(ApiError::forbidden("Administrators cannot lock or suspend themselves"));
    }
    Ok(())
}

fn not_found() -> ApiError {
    ApiError::not_found("User not found")
}

fn administration_error(error: AdministrationError) -> ApiError {
    match error {
        AdministrationError::NotAUser(..) | AdministrationError::Elsewhere(..) => {
            ApiError::invalid_param("User does not belong to the local server")
        }
        AdministrationError::Unknown(_) | AdministrationError::Deactivated(_) => not_found(),
        error @ AdministrationError::Password(_) => ApiError::internal(&error),
        AdministrationError::Database(error) => error.into(),
    }
}
