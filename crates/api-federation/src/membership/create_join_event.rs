//! Joins.

pub(crate) mod v1;
pub(crate) mod v2;

use std::sync::Arc;

use axum::response::Response;
use plexus_federation::PduReceiver;
use plexus_federation::serve::{self, SentMembership};
use plexus_http::ApiError;
use plexus_protocol::id::ServerName;
use serde_json::json;

use crate::responses::{Part, not_accepted, refused, streamed};

/// Lets a user of the requesting server join. Returns the state before the join, between `around`.
async fn join(
    receiver: &Arc<PduReceiver>,
    server_name: &ServerName,
    sent: SentMembership<'_>,
    omit_members: bool,
    around: (&str, &str),
) -> Result<Response, ApiError> {
    let joined = serve::send_join(receiver, sent).await.map_err(not_accepted)?;
    let state = serve::joined_state(&joined.room, &joined.pdu, omit_members).await.map_err(refused)?;
    let mut end = format!("],\"members_omitted\":{omit_members},\"origin\":{}", json!(server_name.as_str()));
    if omit_members {
        end.push_str(&format!(",\"servers_in_room\":{}", json!(joined.servers)));
    }
    end.push_str(&format!(",\"event\":{}}}{}", joined.pdu.json(), around.1));
    let parts = vec![
        Part::Text(format!("{}{{\"auth_chain\":[", around.0)),
        Part::Events(state.auth_chain),
        Part::Text("],\"state\":[".to_owned()),
        Part::Events(state.state),
        Part::Text(end),
    ];
    Ok(streamed(joined.room, parts))
}
