//! POST /_matrix/client/v3/logout

use plexus_accounts::Sessions;
use plexus_http::{ApiError, AuthEvenLocked, Empty, State};

pub(crate) async fn handle(
    AuthEvenLocked(requester): AuthEvenLocked,
    State(sessions): State<Sessions>,
) -> Result<Empty, ApiError> {
    sessions.end(&requester).await.map_err(|error| ApiError::internal(&error))?;
    Ok(Empty)
}
