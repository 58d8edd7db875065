//! Relations between events, and their aggregation
//! (<https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>).

mod bundle;
mod list;
mod thread;

use std::collections::HashSet;

use plexus_protocol::id::UserId;
use plexus_protocol::ignored_users::{IGNORED_USERS_TYPE, ignored_users};
use plexus_store::repo::relations::Related;
use plexus_store::{DbError, Tx, repo};

use crate::model::room::Room;
use crate::model::timeline_event::DUMMY_EVENT_TYPE;
use crate::read::timeline::{EventPosition, ReaderVisibility};

pub use bundle::bundle;
pub use list::{RelationFilter, RelationPage, ThreadFilter, ThreadPage, related, threads};
pub use thread::{MAIN_THREAD, is_in_thread};

/// Returns the users that a user ignores.
fn ignored_by(tx: &mut Tx<'_>, user: &UserId) -> Result<HashSet<String>, DbError> {
    let stored = repo::account_data::get(tx, user.as_str(), "", IGNORED_USERS_TYPE)?;
    Ok(stored.map(|content| ignored_users(&content)).unwrap_or_default())
}

/// Returns the related events that the user may see.
async fn visible(room: &Room, user: &UserId, mut related: Vec<Related>) -> Result<Vec<Related>, DbError> {
    let position = |other: &Related| EventPosition { nid: other.event_nid, position: other.position };
    let visibility = ReaderVisibility::of(user, room, related.iter().map(position).collect()).await?;
    related.retain(|other| other.event_type != DUMMY_EVENT_TYPE.as_bytes() && visibility.shows(position(other)));
    Ok(related)
}
