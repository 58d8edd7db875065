//! Relations between events, and their aggregation (client-server API, "Forming relationships between events").

mod bundle;
mod list;
mod thread;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::relations::Related;

use crate::model::room::Room;
use crate::read::timeline::{Place, Sight};

pub use bundle::bundle;
pub use list::{RelationFilter, RelationPage, ThreadFilter, ThreadPage, related, threads};
pub use thread::{MAIN_THREAD, is_in_thread};

/// The target and type of a content's `m.relates_to`.
pub(crate) fn relates_to(content: &Object) -> Option<(EventId, &str)> {
    let relation = content.get_object("m.relates_to")?;
    let rel_type = relation.get_str("rel_type")?;
    Some((relation.get_str("event_id")?.parse().ok()?, rel_type))
}

/// Those of the related events that the user may see.
async fn seen(room: &Room, user: &UserId, mut related: Vec<Related>) -> Result<Vec<Related>, DbError> {
    let place = |other: &Related| Place { nid: other.event_nid, position: other.position };
    let sight = Sight::of(user, room, related.iter().map(place).collect()).await?;
    related.retain(|other| sight.shows(place(other)));
    Ok(related)
}

/// What to store of an event's relation: a target and `rel_type`. State events do
/// not relate.
pub(crate) fn target_of(pdu: &Pdu) -> Option<(EventId, String)> {
    if pdu.state_key().is_some() {
        return None;
    }
    relates_to(pdu.content()).map(|(target, rel_type)| (target, rel_type.to_owned()))
}
