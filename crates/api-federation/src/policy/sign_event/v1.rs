//! POST /_matrix/policy/v1/sign

use std::sync::Arc;

use plexus_federation::PduReceiver;
use plexus_federation::serve::{self, PolicySignError};
use plexus_http::{ApiError, Json, Origin, RawJson, State};
use plexus_rooms::PolicyRefusal;
use serde_json::value::RawValue;

pub(crate) async fn handle(
    Origin(origin): Origin,
    State(receiver): State<Arc<PduReceiver>>,
    Json(event): Json<Box<RawValue>>,
) -> Result<RawJson, ApiError> {
    let signature = serve::policy_signature(&receiver, &origin, event.get()).await.map_err(sign_error)?;
    Ok(RawJson(signature.to_json().into()))
}

fn sign_error(error: PolicySignError) -> ApiError {
    let text = error.to_string();
    match error {
        PolicySignError::DeniedByAcl => ApiError::forbidden(text),
        PolicySignError::BadEvent(_) => ApiError::bad_json(text),
        PolicySignError::Refused(PolicyRefusal::NotPolicyServer) => ApiError::not_found(text),
        PolicySignError::Refused(PolicyRefusal::Banned) => ApiError::bad_request("M_FORBIDDEN", text),
        PolicySignError::Refused(PolicyRefusal::Db(error)) => error.into(),
    }
}
