//! POST /_matrix/client/v3/users/{userId}/report

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::UserId;
use plexus_store::Database;
use plexus_store::repo::{self, reports::Report};
use serde::Deserialize;

use crate::rate_limits::RateLimits;

#[derive(Debug, Deserialize)]
pub struct Request {
    reason: String,
}

pub async fn handle(
    Auth(requester): Auth,
    State(database): State<Database>,
    State(clock): State<Clock>,
    State(limits): State<Arc<RateLimits>>,
    Path(user): Path<UserId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    limits.reports.check(&requester.user_id)?;
    let received_ts = clock.now_ms();
    let reason = request.reason.replace('\0', "");
    database
        .write(move |tx| {
            // Unknown users are not told apart from known ones.
            if repo::users::get(tx, user.as_str())?.is_none() {
                return Ok(());
            }
            repo::reports::insert(
                tx,
                &Report {
                    received_ts,
                    reporter: requester.user_id.as_str(),
                    room_nid: None,
                    event_nid: None,
                    user_id: Some(user.as_str()),
                    reason: Some(&reason),
                    score: None,
                },
            )
        })
        .await?;
    Ok(Empty)
}
