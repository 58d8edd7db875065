//! GET /_matrix/client/unstable/io.element.msc4388/rendezvous

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, MaybeAuth, State};
use serde::Serialize;

use super::{enabled_msc4388, may_create};
use crate::rate_limited::{self, Counted};

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    create_available: bool,
}

pub(crate) async fn handle(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    MaybeAuth(requester): MaybeAuth,
) -> Result<JsonBody<Response>, ApiError> {
    let mode = enabled_msc4388(&config)?;
    Ok(JsonBody(Response { create_available: may_create(mode, requester.as_deref()) }))
}
