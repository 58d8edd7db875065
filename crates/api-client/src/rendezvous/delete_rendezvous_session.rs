//! DELETE /_matrix/client/unstable/io.element.msc4388/rendezvous/{id}
//! and DELETE /_matrix/client/unstable/org.matrix.msc4108/rendezvous/{id}

use std::sync::Arc;

use http::StatusCode;
use plexus_base::config::Config;
use plexus_http::{ApiError, Empty, Path, State};
use plexus_service::rendezvous::{RendezvousError, RendezvousSessions};

use super::{enabled_msc4388, rendezvous_error, require_msc4108};
use crate::rate_limited::{self, Counted};

pub(crate) async fn handle(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    Path(id): Path<String>,
) -> Result<Empty, ApiError> {
    enabled_msc4388(&config)?;
    delete(&sessions, &id)?;
    Ok(Empty)
}

/// As MSC4108 had it in 2024.
pub(crate) async fn msc4108(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    require_msc4108(&config)?;
    delete(&sessions, &id)?;
    Ok(StatusCode::NO_CONTENT)
}

fn delete(sessions: &RendezvousSessions, id: &str) -> Result<(), ApiError> {
    if sessions.delete(id) { Ok(()) } else { Err(rendezvous_error(&RendezvousError::NotFound)) }
}
