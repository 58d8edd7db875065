//! Reading a room's timeline, oldest first.

use std::sync::Arc;

use plexus_rooms::timeline::{Direction, range};
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, Position};

/// The most events that [`oldest`] returns at once.
const CHUNK: usize = 200;

/// Returns the newest `limit` events with `after < position <= upto`, oldest first.
pub async fn newest(
    room: &Room,
    after: Position,
    upto: Position,
    limit: usize,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let mut events = range(room, after, upto, limit, Direction::Backward).await?;
    events.reverse();
    Ok(events)
}

/// Returns some of the oldest events with `after < position <= upto`, oldest first; none when there are none.
pub async fn oldest(room: &Room, after: Position, upto: Position) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    range(room, after, upto, CHUNK, Direction::Forward).await
}
