//! POST /_matrix/client/v3/keys/signatures/upload

use std::collections::BTreeMap;

use plexus_e2ee::CrossSigning;
use plexus_e2ee::device_keys::SignatureFailure;
use plexus_http::{ApiError, Auth, Json, JsonBody, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    failures: BTreeMap<UserId, BTreeMap<String, Failure>>,
}

#[derive(Debug, Serialize)]
struct Failure {
    errcode: &'static str,
    error: String,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(cross_signing): State<CrossSigning>,
    Json(uploads): Json<BTreeMap<UserId, Object>>,
) -> Result<JsonBody<Response>, ApiError> {
    let failures = cross_signing
        .upload_signatures(&requester.user_id, uploads)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    let failures = failures.into_iter().map(|(user_id, failed)| {
        (user_id, failed.into_iter().map(|(key, failure)| (key, failure_body(failure))).collect())
    });
    Ok(JsonBody(Response { failures: failures.collect() }))
}

fn failure_body(failure: SignatureFailure) -> Failure {
    let errcode = match failure {
        SignatureFailure::NotFound | SignatureFailure::NoSigningKey => "M_NOT_FOUND",
        SignatureFailure::Differs | SignatureFailure::NotAnObject => "M_INVALID_PARAM",
        SignatureFailure::Invalid => "M_INVALID_SIGNATURE",
    };
    Failure { errcode, error: failure.to_string() }
}
