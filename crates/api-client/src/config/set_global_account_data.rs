//! PUT /_matrix/client/v3/user/{userId}/account_data/{type}

use plexus_http::{ApiError, Auth, Empty, JsonText, Path, State};
use plexus_protocol::id::UserId;
use plexus_store::Database;
use plexus_store::repo::account_data::{self, Scope};
use plexus_store::repo::bounds::BoundError;

use super::server_controlled;
use crate::access::{require_self, require_text};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    Path((user, event_type)): Path<(UserId, String)>,
    JsonText(content): JsonText,
) -> Result<Empty, ApiError> {
    require_self(&requester, &user)?;
    require_text("type", &event_type)?;
    if matches!(event_type.as_str(), "m.push_rules" | "m.fully_read") {
        return Err(server_controlled(&event_type));
    }
    db.write(move |tx| {
        account_data::put(tx, &user, Scope::default(), &event_type, &content)?;
        Ok::<_, BoundError>(())
    })
    .await?;
    Ok(Empty)
}
