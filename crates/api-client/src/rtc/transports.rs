//! GET /_matrix/client/v1/rtc/transports (MSC4143)

use std::sync::Arc;

use plexus_base::config::{Config, RtcTransport};
use plexus_http::{ApiError, AuthGuest, JsonBody, State};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Response {
    rtc_transports: Vec<Transport>,
}

/// A server that carries conferences, as clients read it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Transport {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    livekit_service_url: Option<String>,
}

impl From<&RtcTransport> for Transport {
    fn from(configured: &RtcTransport) -> Self {
        Self {
            kind: configured.r#type.clone(),
            url: configured.url.clone(),
            livekit_service_url: configured.livekit_service_url.clone(),
        }
    }
}

/// Returns the configured transports.
pub(crate) fn configured(config: &Config) -> Vec<Transport> {
    config.turn.matrix_rtc.transports.iter().map(Transport::from).collect()
}

pub(crate) async fn handle(AuthGuest(_): AuthGuest, State(config): State<Arc<Config>>) -> JsonBody<Response> {
    JsonBody(Response { rtc_transports: configured(&config) })
}

/// GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports: served with `msc4143_enabled`, as in Synapse.
pub(crate) async fn unstable(
    AuthGuest(_): AuthGuest,
    State(config): State<Arc<Config>>,
) -> Result<JsonBody<Response>, ApiError> {
    if !config.experimental.experimental_features.msc4143_enabled {
        return Err(ApiError::unrecognized());
    }
    Ok(JsonBody(Response { rtc_transports: configured(&config) }))
}
