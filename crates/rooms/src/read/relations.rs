//! Relations between events, and their aggregation (client-server API, "Forming relationships between events").

mod bundle;
mod list;
mod thread;

use plexus_protocol::id::UserId;
use plexus_store::DbError;
use plexus_store::repo::relations::Related;

use crate::model::room::Room;
use crate::read::timeline::{Place, Sight};

pub use bundle::bundle;
pub use list::{RelationFilter, RelationPage, ThreadFilter, ThreadPage, related, threads};
pub use thread::{MAIN_THREAD, is_in_thread};

/// Those of the related events that the user may see.
async fn seen(room: &Room, user: &UserId, mut related: Vec<Related>) -> Result<Vec<Related>, DbError> {
    let place = |other: &Related| Place { nid: other.event_nid, position: other.position };
    let sight = Sight::of(user, room, related.iter().map(place).collect()).await?;
    related.retain(|other| sight.shows(place(other)));
    Ok(related)
}
