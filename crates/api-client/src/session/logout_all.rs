//! POST /_matrix/client/v3/logout/all

use plexus_accounts::Sessions;
use plexus_http::{ApiError, AuthEvenLocked, Empty, State};

pub(crate) async fn handle(
    AuthEvenLocked(requester): AuthEvenLocked,
    State(sessions): State<Sessions>,
) -> Result<Empty, ApiError> {
    sessions.end_all(&requester.user_id, None).await.map_err(|error| ApiError::internal(&error))?;
    Ok(Empty)
}
