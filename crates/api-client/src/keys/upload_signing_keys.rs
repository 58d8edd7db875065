//! POST /_matrix/client/v3/keys/device_signing/upload

use plexus_accounts::UserInteractiveAuth;
use plexus_base::Clock;
use plexus_e2ee::CrossSigning;
use plexus_e2ee::device_keys::{CrossSigningError, CrossSigningState, CrossSigningUpload};
use plexus_http::{ApiError, Auth, Empty, Json, State};
use plexus_protocol::json::Object;
use serde::Deserialize;

use crate::uiaa::{self, authorised};

#[derive(Debug, Deserialize)]
struct Params {
    master_key: Option<Object>,
    self_signing_key: Option<Object>,
    user_signing_key: Option<Object>,
}

impl From<Params> for CrossSigningUpload {
    fn from(params: Params) -> Self {
        Self {
            master_key: params.master_key,
            self_signing_key: params.self_signing_key,
            user_signing_key: params.user_signing_key,
        }
    }
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(clock): State<Clock>,
    State(cross_signing): State<CrossSigning>,
    State(uia): State<UserInteractiveAuth>,
    Json(body): Json<Object>,
) -> Result<Empty, ApiError> {
    let operation = "POST /keys/device_signing/upload".to_owned();
    // A request without keys continues with those of an earlier request.
    let is_bare = body.keys().all(|name| name == "auth");
    let body = if is_bare { uiaa::with_earlier_params(&uia, operation.clone(), &requester, body).await? } else { body };
    let params: Params = uiaa::parse(&body)?;
    let upload = CrossSigningUpload::from(params);
    let state = cross_signing
        .state(&requester.user_id, &upload, clock.now_ms())
        .await
        .map_err(|error| ApiError::internal(&error))?;
    let store = async |upload: CrossSigningUpload| {
        cross_signing.upload(&requester.user_id, upload).await.map_err(cross_signing_error)?;
        Ok(Empty)
    };
    match state {
        CrossSigningState::Replaces { allowed_without_auth: false } => {
            // As in Synapse: its users have no password with which they could authenticate.
            let is_exempt = requester.acting_service.is_some();
            let request = uiaa::Request { operation, requester: &requester, body, can_skip: false, is_exempt };
            authorised(&uia, request, async |params: Params| store(params.into()).await).await
        }
        // The first keys, or keys that an administrator allowed to replace: no authentication (MSC3967).
        CrossSigningState::First | CrossSigningState::Replaces { allowed_without_auth: true } => store(upload).await,
        CrossSigningState::Unchanged => Ok(Empty),
    }
}

fn cross_signing_error(error: CrossSigningError) -> ApiError {
    match error {
        CrossSigningError::Invalid { .. } => ApiError::invalid_param(error.to_string()),
        CrossSigningError::NotPortable { .. } => ApiError::bad_json(error.to_string()),
        CrossSigningError::NoMasterKey => ApiError::missing_param(error.to_string()),
        CrossSigningError::NotSigned(_) => ApiError::bad_request("M_INVALID_SIGNATURE", error.to_string()),
        CrossSigningError::Database(error) => error.into(),
    }
}
