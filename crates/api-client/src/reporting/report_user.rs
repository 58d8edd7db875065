//! POST /_matrix/client/v3/users/{userId}/report

use std::sync::Arc;

use plexus_http::{ApiError, Auth, Empty, Json, Path, State};
use plexus_protocol::id::UserId;
use serde::Deserialize;

use plexus_service::{NewReport, RateLimits, Reported, Reports, check_limit};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    reason: String,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(reports): State<Reports>,
    State(limits): State<Arc<RateLimits>>,
    Path(user): Path<UserId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    check_limit(&limits.reports, &requester)?;
    let report = NewReport {
        reporter: requester.user_id.clone(),
        reported: Reported::User(user),
        reason: Some(request.reason),
        score: None,
    };
    reports.add(report).await?;
    Ok(Empty)
}
