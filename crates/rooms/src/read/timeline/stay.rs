//! Since when a user is in a room.

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_store::{DbError, EventNid, Position, repo};

use crate::model::room::Room;
use crate::model::stored_events;

/// The most member events that are read at once.
const MEMBER_EVENTS_AT_ONCE: usize = 20;

/// A stay of a user in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stay {
    /// The position of the user's member event, which may have replaced that of the join.
    pub member: Position,
    /// The position of the join with which the stay began.
    pub since: Position,
}

/// Returns the stay of a user who is joined to a room. `member` is the position of the user's member event. The search
/// ends at `known`, an earlier member event of which the stay is known.
///
/// # Errors
/// When the database fails.
pub async fn current_stay(room: &Room, user: &UserId, member: Position, known: Stay) -> Result<Stay, DbError> {
    let (nid, version, state_key) = (room.nid, room.version, user.to_string());
    let since = room.db.read(move |tx| {
        let history = repo::current_state::history(tx, nid, "m.room.member", &state_key)?;
        let earlier: Vec<(Position, EventNid)> = history.into_iter().rev().filter(|(at, _)| *at < member).collect();
        let mut since = member;
        for part in earlier.chunks(MEMBER_EVENTS_AT_ONCE) {
            let nids: Vec<EventNid> = part.iter().map(|(_, event)| *event).collect();
            let events = stored_events::by_nids(tx, version, &nids)?;
            for (position, nid) in part {
                let event = events.iter().find(|event| event.nid == *nid);
                if event.and_then(|event| Membership::of(&event.pdu)) != Some(Membership::Join) {
                    return Ok(since);
                }
                if *position == known.member {
                    return Ok(known.since);
                }
                since = *position;
            }
        }
        Ok::<_, DbError>(since)
    });
    Ok(Stay { member, since: since.await? })
}
