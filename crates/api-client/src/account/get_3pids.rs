//! GET /_matrix/client/v3/account/3pid

use plexus_http::{ApiError, Auth, JsonBody, State};
use plexus_store::repo::users;
use plexus_store::{Database, DbError};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    threepids: Vec<ThreePid>,
}

#[derive(Debug, Serialize)]
struct ThreePid {
    medium: String,
    address: String,
    validated_at: u64,
    added_at: u64,
}

pub(crate) async fn handle(Auth(requester): Auth, State(db): State<Database>) -> Result<JsonBody<Response>, ApiError> {
    let user_id = requester.user_id.clone();
    let stored: Result<_, DbError> = db.read(move |tx| users::threepids(tx, user_id.as_str())).await;
    let threepids = stored.map_err(|error| ApiError::internal(&error))?.into_iter().map(|one| ThreePid {
        medium: one.medium,
        address: one.address,
        validated_at: one.validated_ts,
        added_at: one.added_ts,
    });
    Ok(JsonBody(Response { threepids: threepids.collect() }))
}
