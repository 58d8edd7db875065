//! POST /_matrix/client/v3/pushers/set

use plexus_base::Clock;
use plexus_http::{ApiError, Auth, Empty, Json, Requester, State};
use plexus_store::Database;
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::pushers::{self, Pusher};
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
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    if request.pushkey.len() > MAX_PUSHKEY || request.app_id.len() > MAX_APP_ID {
        return Err(ApiError::invalid_param("pushkey is at most 512 bytes long, app_id 64"));
    }
    if request.contains_nul() {
        return Err(ApiError::invalid_param("a value contains U+0000"));
    }
    let user = requester.user_id.to_string();
    let Some(kind) = request.kind.clone() else {
        db.write(move |tx| pushers::delete(tx, &user, &request.app_id, &request.pushkey)).await?;
        return Ok(Empty);
    };
    let append = request.append;
    let mut pusher = new_pusher(request, kind, &requester, clock.now_ms())?;
    pusher.pushed_to = db.committed();
    db.write(move |tx| {
        if !append {
            pushers::delete_for_others(tx, &user, &pusher.app_id, &pusher.pushkey)?;
        }
        pushers::set(tx, &user, &pusher)?;
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
        created_ts: now_ms,
        pushed_to: 0,
    })
}

/// Checks that a pusher's URL has the one path of push gateways, so that it cannot point at anything else.
fn check_data(kind: &str, data: &Map<String, Value>) -> Result<(), ApiError> {
    match kind {
        "email" => Ok(()),
        "http" => {
            let url = data.get("url").and_then(Value::as_str).unwrap_or_default();
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let path = rest.and_then(|rest| rest.split_once('/')).map(|(_, path)| path);
            let path = path.map(|path| path.split(['?', '#']).next().unwrap_or_default());
            if path == Some("_matrix/push/v1/notify") {
                return Ok(());
            }
            let message = "data.url must be a URL with the path '/_matrix/push/v1/notify'";
            Err(ApiError::invalid_param(message))
        }
        other => Err(ApiError::invalid_param(format!("Unknown pusher kind: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_have_one_path() {
        let data = |url: &str| Map::from_iter([("url".to_owned(), Value::from(url))]);
        assert!(check_data("http", &data("https://push.example/_matrix/push/v1/notify")).is_ok());
        assert!(check_data("http", &data("https://push.example/_matrix/push/v1/notify?a=b")).is_ok());
        for url in ["", "https://push.example", "https://push.example/x", "ftp://x/_matrix/push/v1/notify"] {
            assert!(check_data("http", &data(url)).is_err(), "{url}");
        }
        assert!(check_data("sms", &Map::new()).is_err());
    }
}
