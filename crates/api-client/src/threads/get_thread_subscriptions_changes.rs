//! GET /_matrix/client/unstable/io.element.msc4308/thread_subscriptions

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Query, RawJson, State, non_empty};
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::Rooms;
use plexus_store::Position;
use plexus_sync::ThreadSubscriptions;
use plexus_sync::thread_subscriptions::DEFAULT_CHANGES;
use serde::Deserialize;

use super::require_enabled;
use crate::paging_token::{position_of, token};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    dir: String,
    /// The newest change that is wanted.
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
    /// Only changes after this.
    #[serde(default, deserialize_with = "non_empty")]
    to: Option<String>,
    limit: Option<u64>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(subscriptions): State<ThreadSubscriptions>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    require_enabled(&subscriptions)?;
    if request.dir != "b" {
        return Err(ApiError::invalid_param("dir must be b"));
    }
    if request.limit == Some(0) {
        return Err(ApiError::invalid_param("limit must be greater than 0"));
    }
    let upto = request.from.as_deref().map(position_of).transpose()?.unwrap_or_else(|| subscriptions.now());
    let after = request.to.as_deref().map(position_of).transpose()?.unwrap_or(Position::MIN);
    let limit = request.limit.unwrap_or(DEFAULT_CHANGES);
    let changes = subscriptions.changes(&rooms, &requester.user_id, (after, upto), limit).await?;
    let mut body = String::new();
    let mut members = ObjectWriter::open(&mut body);
    changes.write(&mut members);
    if let Some(before) = changes.before {
        members.string("end", &token(before));
    }
    members.close();
    Ok(RawJson(body.into()))
}
