//! Accounts: registration, password, third-party identifiers, deactivation.

pub(crate) mod add_3pid;
pub(crate) mod change_password;
pub(crate) mod check_registration_token_validity;
pub(crate) mod deactivate;
pub(crate) mod delete_3pid;
pub(crate) mod get_3pids;
pub(crate) mod get_username_availability;
pub(crate) mod password_policy;
pub(crate) mod register;
pub(crate) mod request_3pid_management_token_via_email;
pub(crate) mod request_3pid_management_token_via_msisdn;
pub(crate) mod request_openid_token;
pub(crate) mod request_password_change_token_via_email;
pub(crate) mod request_password_change_token_via_msisdn;
pub(crate) mod request_registration_token_via_email;
pub(crate) mod request_registration_token_via_msisdn;
mod request_token;
pub(crate) mod submit_3pid_token;
pub(crate) mod unbind_3pid;
pub(crate) mod whoami;

use plexus_accounts::{RegisterError, UsernameError, WeakPassword};
use plexus_http::ApiError;

use crate::issued_tokens::session_error;

pub(crate) fn weak_password(error: WeakPassword) -> ApiError {
    let errcode = match error {
        WeakPassword::TooShort { .. } => "M_PASSWORD_TOO_SHORT",
        WeakPassword::NoDigit => "M_PASSWORD_NO_DIGIT",
        WeakPassword::NoSymbol => "M_PASSWORD_NO_SYMBOL",
        WeakPassword::NoLowercase => "M_PASSWORD_NO_LOWERCASE",
        WeakPassword::NoUppercase => "M_PASSWORD_NO_UPPERCASE",
        WeakPassword::Unusable => "M_INVALID_PARAM",
    };
    ApiError::bad_request(errcode, error.to_string())
}

pub(crate) fn username_error(error: UsernameError) -> ApiError {
    ApiError::bad_request("M_INVALID_USERNAME", error.to_string())
}

pub(crate) fn register_error(error: RegisterError) -> ApiError {
    match error {
        RegisterError::Username(error) => username_error(error),
        RegisterError::UserInUse => ApiError::bad_request("M_USER_IN_USE", "User ID already taken."),
        RegisterError::Reserved | RegisterError::NoticesUser | RegisterError::NotItsUser => {
            ApiError::bad_request("M_EXCLUSIVE", error.to_string())
        }
        RegisterError::DisplayName(_) => ApiError::invalid_param(error.to_string()),
        RegisterError::Password(error) => weak_password(error),
        RegisterError::Session(error) => session_error(error),
        RegisterError::SessionSpent => ApiError::forbidden("An account was registered with this session already."),
        RegisterError::Hash(_) => ApiError::internal(&error),
        RegisterError::Database(error) => error.into(),
    }
}
