//! GET /_matrix/client/v3/login

use std::sync::Arc;

use plexus_accounts::Settings;
use plexus_base::AppServices;
use plexus_http::{JsonBody, State};
use serde::Serialize;

use crate::appservice::APP_SERVICE;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    flows: Vec<Flow>,
}

#[derive(Debug, Serialize)]
struct Flow {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    get_login_token: Option<bool>,
}

pub(crate) async fn handle(
    State(settings): State<Arc<Settings>>,
    State(services): State<Arc<AppServices>>,
) -> JsonBody<Response> {
    let mut flows = Vec::new();
    if settings.login_via_existing_session.enabled {
        flows.push(Flow { r#type: "m.login.token", get_login_token: Some(true) });
    }
    if settings.password.for_login {
        flows.push(Flow { r#type: "m.login.password", get_login_token: None });
    }
    if services.current().is_some() {
        flows.push(Flow { r#type: APP_SERVICE, get_login_token: None });
    }
    JsonBody(Response { flows })
}
