//! Relations between events, and their aggregation
//! (<https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>).

mod bundle;
mod list;
mod thread;

use plexus_protocol::id::UserId;
use plexus_store::DbError;
use plexus_store::repo::relations::Related;

use crate::model::room::Room;
use crate::model::timeline_event::DUMMY_EVENT_TYPE;
use crate::read::timeline::{EventPosition, ReaderVisibility};

pub use bundle::bundle;
pub use list::{RelationFilter, RelationPage, ThreadFilter, ThreadPage, related, threads};
pub use thread::{MAIN_THREAD, is_in_thread};

/// Returns the related events that the user may see.
async fn visible(room: &Room, user: &UserId, mut related: Vec<Related>) -> Result<Vec<Related>, DbError> {
    let position = |other: &Related| EventPosition { nid: other.event_nid, position: other.position };
    let visibility = ReaderVisibility::of(user, room, related.iter().map(position).collect()).await?;
    related.retain(|other| other.event_type != DUMMY_EVENT_TYPE.as_bytes() && visibility.shows(position(other)));
    Ok(related)
}
