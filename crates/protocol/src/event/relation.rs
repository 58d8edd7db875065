//! Relations between events ([Forming relationships between
//! events](https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events)).

use super::Pdu;
use crate::{id::EventId, json::Object};

/// Returns the target and `rel_type` of a content's `m.relates_to`.
pub fn relates_to(content: &Object) -> Option<(EventId, &str)> {
    let relation = content.get_object("m.relates_to")?;
    let rel_type = relation.get_str("rel_type")?;
    Some((relation.get_str("event_id")?.parse().ok()?, rel_type))
}

/// Returns the target and `rel_type` of an event's relation. State events have none.
pub fn relation_of(pdu: &Pdu) -> Option<(EventId, &str)> {
    if pdu.state_key().is_some() {
        return None;
    }
    relates_to(pdu.content())
}
