//! POST /_matrix/client/v3/account/3pid and /account/3pid/add

use std::sync::Arc;

use plexus_accounts::UserInteractiveAuth;
use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Json, State};
use plexus_protocol::json::{Object, Value};
use plexus_service::{AddAddressError, EmailValidation};
use serde::Deserialize;

use crate::uiaa::{self, authorised};

#[derive(Debug, Deserialize)]
struct Params {
    client_secret: String,
    sid: String,
}

/// Adds an address that was validated before. Whoever has the address can get a new password by it, so the old form of
/// the request needs authentication, too.
pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(uia): State<UserInteractiveAuth>,
    State(validation): State<Option<Arc<EmailValidation>>>,
    Json(body): Json<Object>,
) -> Result<Empty, ApiError> {
    if !config.registration.enable_3pid_changes {
        return Err(ApiError::forbidden("3PID changes are disabled on this server"));
    }
    let body = flattened(body);
    let not_validated = || ApiError::bad_request("M_THREEPID_AUTH_FAILED", AddAddressError::NotValidated.to_string());
    let Some(validation) = validation else {
        uiaa::parse::<Params>(&body)?;
        return Err(not_validated());
    };
    let operation = "POST /account/3pid/add".to_owned();
    let is_exempt = requester.acting_service.is_some();
    let request = uiaa::Request { operation, requester: &requester, body, can_skip: false, is_exempt };
    authorised(&uia, request, async |params: Params| {
        let Params { client_secret, sid } = params;
        let added = validation.add_address(&requester.user_id, sid, client_secret).await;
        added.map_err(|error| match error {
            AddAddressError::NotValidated => not_validated(),
            AddAddressError::InUse => ApiError::bad_request("M_THREEPID_IN_USE", error.to_string()),
            AddAddressError::Database(error) => error.into(),
        })?;
        Ok(Empty)
    })
    .await
}

/// Returns the body in the new form: in the old one the parameters are in `three_pid_creds`.
fn flattened(mut body: Object) -> Object {
    for name in ["three_pid_creds", "threePidCreds"] {
        if let Some(Value::Object(credentials)) = body.remove(name) {
            for field in ["client_secret", "sid"] {
                if let Some(value) = credentials.get(field) {
                    body.insert(field, value.clone());
                }
            }
        }
    }
    body
}
