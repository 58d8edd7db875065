//! POST /_matrix/client/v3/pushers/set

use std::sync::Arc;

use plexus_base::Clock;
use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Empty, Json, Requester, State};
use plexus_net::push_gateway::PushGatewayUrl;
use plexus_store::Database;
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::pushers::{self, Pusher, PusherKey};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The longest pushkey, in bytes, as in the specification.
const MAX_PUSHKEY: usize = 512;
const MAX_APP_ID: usize = 64;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pushkey: String,
    app_id: String,
    /// `null` deletes the pusher; absent is an error.
    #[serde(deserialize_with = "nullable")]
    kind: Option<String>,
    app_display_name: Option<String>,
    device_display_name: Option<String>,
    profile_tag: Option<String>,
    lang: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(default)]
    append: bool,
    /// Whether it is on (MSC3881).
    #[serde(rename = "org.matrix.msc3881.enabled")]
    enabled: Option<bool>,
}

impl Request {
    /// Whether a value that is stored as text contains U+0000.
    fn contains_nul(&self) -> bool {
        let optional = [&self.kind, &self.app_display_name, &self.device_display_name, &self.profile_tag, &self.lang];
        let mut texts = optional.into_iter().flatten().chain([&self.pushkey, &self.app_id]);
        texts.any(|text| text.contains('\0'))
    }
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(clock): State<Clock>,
    State(config): State<Arc<Config>>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    if request.pushkey.len() > MAX_PUSHKEY || request.app_id.len() > MAX_APP_ID {
        return Err(ApiError::invalid_param("pushkey is at most 512 bytes long, app_id 64"));
    }
    if request.contains_nul() {
        return Err(ApiError::invalid_param("a value contains U+0000"));
    }
    let (app_id, pushkey) = (request.app_id.clone(), request.pushkey.clone());
    let key = PusherKey { user: requester.user_id.clone(), app_id, pushkey };
    let Some(kind) = request.kind.clone() else {
        db.write(move |tx| pushers::delete(tx, &key)).await?;
        return Ok(Empty);
    };
    let append = request.append;
    let can_be_off = config.experimental.experimental_features.msc3881_enabled;
    let enabled = !can_be_off || request.enabled.unwrap_or(true);
    let pusher = new_pusher(request, kind, &requester, clock.now_ms())?;
    let pusher = Pusher { since: db.committed(), enabled, ..pusher };
    db.write(move |tx| {
        if !append {
            pushers::delete_for_others(tx, &key)?;
        }
        pushers::set(tx, &key.user, &pusher)?;
        Ok::<_, BoundError>(())
    })
    .await?;
    Ok(Empty)
}

fn new_pusher(request: Request, kind: String, requester: &Requester, now_ms: u64) -> Result<Pusher, ApiError> {
    let required = |value: Option<String>, name: &str| {
        value.ok_or_else(|| ApiError::missing_param(format!("Missing parameters: {name}")))
    };
    let data = request.data.ok_or_else(|| ApiError::missing_param("Missing parameters: data"))?;
    check_data(&kind, &data)?;
    Ok(Pusher {
        app_id: request.app_id,
        pushkey: request.pushkey,
        kind,
        app_display_name: required(request.app_display_name, "app_display_name")?,
        device_display_name: required(request.device_display_name, "device_display_name")?,
        profile_tag: request.profile_tag,
        lang: required(request.lang, "lang")?,
        data: Value::Object(data).to_string(),
        device_id: requester.device_id.clone(),
        set_ts: now_ms,
        since: 0,
        enabled: true,
    })
}

fn check_data(kind: &str, data: &Map<String, Value>) -> Result<(), ApiError> {
    match kind {
        "email" => Err(ApiError::invalid_param("This server sends no notifications by mail")),
        "http" => {
            let url = data.get("url").and_then(Value::as_str).unwrap_or_default();
            let checked = PushGatewayUrl::try_from(url);
            checked.map(drop).map_err(|error| ApiError::invalid_param(format!("data.url is {error}")))
        }
        other => Err(ApiError::invalid_param(format!("Unknown pusher kind: {other}"))),
    }
}
