//! GET /_matrix/client/v3/pushers

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, JsonBody, State};
use plexus_store::repo::pushers::{self, Pusher};
use plexus_store::{Database, DbError};
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    pushers: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    app_display_name: String,
    app_id: String,
    data: Box<RawValue>,
    device_display_name: String,
    kind: String,
    lang: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_tag: Option<String>,
    pushkey: String,
    /// Whether it is on (MSC3881).
    #[serde(rename = "org.matrix.msc3881.enabled", skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    /// The device whose session set it (MSC3881).
    #[serde(rename = "org.matrix.msc3881.device_id", skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(config): State<Arc<Config>>,
) -> Result<JsonBody<Response>, ApiError> {
    let can_be_off = config.experimental.experimental_features.msc3881_enabled;
    let user = requester.user_id.to_string();
    let stored = db.read(move |tx| pushers::of_user(tx, &user)).await?;
    let pushers = stored.into_iter().map(|pusher| item(pusher, can_be_off)).collect::<Result<_, _>>()?;
    Ok(JsonBody(Response { pushers }))
}

fn item(pusher: Pusher, can_be_off: bool) -> Result<Item, DbError> {
    let data = RawValue::from_string(pusher.data)
        .map_err(|error| DbError::bad_data(format!("pushers.data of {}", pusher.app_id), error))?;
    Ok(Item {
        app_display_name: pusher.app_display_name,
        app_id: pusher.app_id,
        data,
        device_display_name: pusher.device_display_name,
        kind: pusher.kind,
        lang: pusher.lang,
        profile_tag: pusher.profile_tag,
        pushkey: pusher.pushkey,
        enabled: can_be_off.then_some(pusher.enabled),
        device_id: pusher.device_id.filter(|_| can_be_off),
    })
}
