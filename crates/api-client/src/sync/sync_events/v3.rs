//! GET /_matrix/client/v3/sync

use std::sync::Arc;
use std::time::Duration;

use plexus_http::body::in_words;
use plexus_http::{ApiError, LongPolling, Query, RawJson, Session, State};
use plexus_sync::{Filter, FilterError, Filters, PresenceState, SyncEngine, SyncError, SyncRequest, SyncToken};
use serde::Deserialize;

use plexus_service::LocalEchoOrder;

/// The longest a request may wait, whatever the client asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    filter: Option<String>,
    since: Option<String>,
    #[serde(default)]
    full_state: bool,
    set_presence: Option<String>,
    /// ms
    #[serde(default)]
    timeout: u64,
    #[serde(default)]
    use_state_after: bool,
    /// Its name before it was in the specification.
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    use_state_after_unstable: bool,
}

pub(crate) async fn handle(
    session: Session,
    State(engine): State<Arc<SyncEngine>>,
    State(filters): State<Arc<Filters>>,
    State(echo_order): State<Arc<LocalEchoOrder>>,
    LongPolling(long_poll): LongPolling,
    Query(parameters): Query<Parameters>,
) -> Result<RawJson, ApiError> {
    let requester = &session.requester;
    let filter = match parameters.filter.as_deref() {
        Some(filter) => filters.resolve(&requester.user_id, filter).await.map_err(filter_error)?,
        None => Arc::<Filter>::default(),
    };
    let since = match parameters.since.as_deref().filter(|since| !since.is_empty()) {
        Some(since) => {
            Some(since.parse::<SyncToken>().map_err(|_| ApiError::invalid_param("since: Invalid stream token"))?)
        }
        None => None,
    };
    let set_presence = match parameters.set_presence.as_deref() {
        Some(text) => PresenceState::parse(text)
            .ok_or_else(|| ApiError::invalid_param("set_presence must be one of online, unavailable, offline"))?,
        None => PresenceState::Online,
    };
    let request = SyncRequest {
        user: requester.user_id.clone(),
        device: requester.device_id.clone(),
        since,
        filter,
        full_state: parameters.full_state,
        timeout: Duration::from_millis(parameters.timeout).min(MAX_TIMEOUT),
        set_presence,
        state_after: parameters.use_state_after || parameters.use_state_after_unstable,
        long_poll,
    };
    let answer = engine.sync(request).await;
    echo_order.responses_sent(requester).await;
    session.require_open().await?;
    match answer {
        Ok(body) => Ok(RawJson(body.into())),
        Err(SyncError::Database(error)) => Err(error.into()),
    }
}

/// Returns the client's error for a filter that cannot be used.
fn filter_error(error: FilterError) -> ApiError {
    match error {
        FilterError::Invalid(error) => ApiError::invalid_param(format!("filter: {}", in_words(&error.to_string()))),
        FilterError::TooLarge(what) => ApiError::too_large(what),
        FilterError::NotFound => ApiError::invalid_param("No such filter"),
        FilterError::Database(error) => error.into(),
    }
}
