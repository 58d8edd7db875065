//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use std::sync::Arc;

use plexus_http::room_errors::client_event_error;
use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Path, Requester, State, require_not_suspended};
use plexus_protocol::id::{EventId, RoomId};
use plexus_protocol::json::{Object, Value};
use plexus_rooms::{NewEvent, Transaction};
use plexus_service::{ClientEventSender, RelatedRedaction, RelatedRedactions};

use crate::sending::{EventSent, transaction};

/// The member of the body that names the relations whose events are to be redacted, too (MSC3912).
const WITH_RELATIONS: &str = "org.matrix.msc3912.with_relations";
/// The most relation types of one request.
const MAX_REL_TYPES: usize = 16;
/// The longest reason of the redactions of related events, in characters; longer ones are cut.
const MAX_REASON_CHARS: usize = 500;
/// The longest relation type, in bytes: as of other identifiers.
const MAX_REL_TYPE_BYTES: usize = 255;

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(events): State<Arc<ClientEventSender>>,
    State(related): State<RelatedRedactions>,
    Path((room_id, event_id, txn_id)): Path<(RoomId, EventId, String)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let transaction = transaction(&requester, txn_id)?;
    redact(&requester, &events, &related, (room_id, event_id), content, transaction).await
}

/// POST /_matrix/client/v3/rooms/{roomId}/redact/{eventId}, which Synapse serves beyond the specification: a repeated
/// request makes another redaction.
pub(crate) async fn without_transaction(
    Auth(requester): Auth,
    State(events): State<Arc<ClientEventSender>>,
    State(related): State<RelatedRedactions>,
    Path(path): Path<(RoomId, EventId)>,
    JsonOrEmpty(content): JsonOrEmpty<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    redact(&requester, &events, &related, path, content, None).await
}

async fn redact(
    requester: &Requester,
    events: &ClientEventSender,
    related: &RelatedRedactions,
    (room_id, redacted): (RoomId, EventId),
    mut content: Object,
    transaction: Option<Transaction>,
) -> Result<JsonBody<EventSent>, ApiError> {
    let rel_types = if related.enabled() { take_rel_types(&mut content)? } else { Vec::new() };
    let event = NewEvent {
        room_id: room_id.clone(),
        sender: requester.user_id.clone(),
        event_type: "m.room.redaction".to_owned(),
        state_key: None,
        content: content.clone(),
        redacts: Some(redacted.clone()),
        origin_server_ts: None,
        sticky_duration_ms: None,
        transaction,
    };
    let event_id = match events.replayed(&event) {
        Some(event_id) => event_id,
        None => {
            // Suspended users may redact their own events, and no others: related ones may be of others.
            if requester.suspended && (!rel_types.is_empty() || !events.redacts_own(&event).await?) {
                require_not_suspended(requester)?;
            }
            events.send(requester, event).await.map_err(client_event_error)?
        }
    };
    if !rel_types.is_empty() && !requester.shadow_banned {
        // Also if the redaction was sent before: that request may have failed here.
        let (sender, redaction_id) = (requester.user_id.clone(), event_id.clone());
        // The rest of the content would be stored with each of the redactions, which may be thousands.
        let reason = content.get_str("reason").map(|reason| reason.chars().take(MAX_REASON_CHARS).collect::<String>());
        let content = reason.map_or_else(Object::new, |reason| Object::from([("reason", reason)]));
        let redaction = RelatedRedaction { room_id, sender, event_id: redacted, redaction_id, content, rel_types };
        related.schedule(redaction).await?;
    }
    Ok(JsonBody(EventSent { event_id }))
}

/// Removes the relation types from the body.
fn take_rel_types(content: &mut Object) -> Result<Vec<String>, ApiError> {
    let Some(given) = content.remove(WITH_RELATIONS) else { return Ok(Vec::new()) };
    let invalid = || ApiError::invalid_param(format!("{WITH_RELATIONS} is not a list of relation types"));
    let Value::Array(given) = given else { return Err(invalid()) };
    if given.len() > MAX_REL_TYPES {
        return Err(ApiError::invalid_param(format!("{WITH_RELATIONS} has more than {MAX_REL_TYPES} relation types")));
    }
    let usable = |rel_type: &&str| rel_type.len() <= MAX_REL_TYPE_BYTES && !rel_type.contains('\0');
    given.iter().map(|it| it.as_str().filter(usable).map(str::to_owned).ok_or_else(invalid)).collect()
}
