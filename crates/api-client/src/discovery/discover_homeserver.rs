//! GET /.well-known/matrix/client

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, State};
use serde_json::{Map, Value, json};

use crate::rtc::transports;

/// The transports of conferences, where Element Call looks for them if it has no other way.
const RTC_FOCI: &str = "org.matrix.msc4143.rtc_foci";

/// Returns `public_baseurl`, `default_identity_server`, the transports of conferences and the members of
/// `extra_well_known_client_content`; 404 without a `public_baseurl`.
pub(crate) async fn handle(State(config): State<Arc<Config>>) -> Result<JsonBody<Map<String, Value>>, ApiError> {
    let Some(base_url) = &config.server.public_baseurl else {
        return Err(ApiError::not_found(".well-known not available"));
    };
    let mut content = Map::new();
    content.insert("m.homeserver".to_owned(), json!({ "base_url": base_url }));
    if let Some(identity_server) = &config.registration.default_identity_server {
        content.insert("m.identity_server".to_owned(), json!({ "base_url": identity_server }));
    }
    for (name, value) in &config.server.extra_well_known_client_content {
        content.entry(name).or_insert_with(|| value.clone());
    }
    let transports = transports::configured(&config);
    if !transports.is_empty() {
        content.entry(RTC_FOCI).or_insert_with(|| json!(transports));
    }
    Ok(JsonBody(content))
}
