//! DELETE /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Path, State};
use plexus_protocol::id::UserId;
use plexus_store::Database;
use plexus_store::repo::account_data::{self, Scope};

use super::{deletes, require_writable};
use crate::access::require_self;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(db): State<Database>,
    Path((user, event_type)): Path<(UserId, String)>,
) -> Result<Empty, ApiError> {
    if !deletes(&config) {
        return Err(ApiError::unrecognized());
    }
    require_self(&requester, &user)?;
    require_writable(&event_type)?;
    db.write(move |tx| account_data::delete(tx, &user, Scope::default(), &event_type)).await?;
    Ok(Empty)
}
