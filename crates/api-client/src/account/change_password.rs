//! POST /_matrix/client/v3/account/password

use std::sync::Arc;

use plexus_accounts::{ChangePasswordError, Logins, Settings, UserInteractiveAuth};
use plexus_http::{ApiError, Auth, Empty, Json, State};
use plexus_protocol::json::Object;
use serde::Deserialize;

use super::weak_password;
use crate::uiaa::{self, authorised};

#[derive(Debug, Deserialize)]
struct Params {
    new_password: Option<String>,
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(settings): State<Arc<Settings>>,
    State(uia): State<UserInteractiveAuth>,
    State(logins): State<Logins>,
    Json(body): Json<Object>,
) -> Result<Empty, ApiError> {
    if !settings.password.for_reauth {
        return Err(ApiError::forbidden("Password change disabled"));
    }
    let asked: Params = uiaa::parse(&body)?;
    if let Some(password) = &asked.new_password {
        settings.password.policy.check(password).map_err(weak_password)?;
    }
    let operation = "POST /account/password".to_owned();
    let request = uiaa::Request { operation, requester: &requester, body, can_skip: false, is_exempt: false };
    authorised(&uia, request, async |params: Params| {
        let Some(new_password) = params.new_password else {
            return Err(ApiError::missing_param("new_password"));
        };
        let keep = requester.device_id.clone();
        let changed = logins.change_password(&requester.user_id, &new_password, params.logout_devices, keep).await;
        changed.map_err(|error| match error {
            ChangePasswordError::Weak(error) => weak_password(error),
            ChangePasswordError::Hash(_) => ApiError::internal(&error),
            ChangePasswordError::Database(error) => error.into(),
        })?;
        Ok(Empty)
    })
    .await
}
