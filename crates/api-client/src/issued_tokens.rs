//! Access tokens in the responses of login, registration and refreshing.

use plexus_accounts::{SessionError, Tokens};
use plexus_http::ApiError;
use serde::Serialize;

/// The fields of a response that describe an access token.
#[derive(Debug, Serialize)]
pub(crate) struct TokenFields {
    pub(crate) access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_ms: Option<u64>,
}

impl From<Tokens> for TokenFields {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            expires_in_ms: tokens.expires_in.map(|lifetime| lifetime.as_millis() as u64),
        }
    }
}

/// Returns the client's error for a session that was not started.
pub(crate) fn session_error(error: SessionError) -> ApiError {
    match error {
        SessionError::InvalidDeviceId => ApiError::invalid_param(error.to_string()),
        SessionError::Database(error) => error.into(),
    }
}
