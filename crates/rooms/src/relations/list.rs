//! Paging through what relates to an event, and through a room's threads.

use std::sync::Arc;

use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::relations::Related;
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx, event_key, repo};

use crate::load;
use crate::room::Room;
use crate::timeline::Direction;
use crate::timeline_event::TimelineEvent;

/// How far `recurse` follows relations of relations (client-server API: at least 3).
const MAX_RECURSION: u32 = 3;

/// Which relations are wanted.
#[derive(Clone, Debug, Default)]
pub struct RelationFilter {
    /// `rel_type`
    pub rel_type: Option<String>,
    /// The related event's type.
    pub event_type: Option<String>,
    /// Whether relations of relations are wanted too.
    pub recurse: bool,
}

/// A page of related events.
#[derive(Clone, Debug)]
pub struct RelationPage {
    /// In the order asked for.
    pub events: Vec<Arc<TimelineEvent>>,
    /// Whether there are more beyond.
    pub more: bool,
    /// How deep `recurse` went.
    pub depth: u32,
}

/// Events that relate to `target` with `after < position <= upto`, from the end that `direction` begins at.
pub async fn related(
    room: &Room,
    target: &EventId,
    filter: RelationFilter,
    after: Position,
    upto: Position,
    limit: usize,
    direction: Direction,
) -> Result<RelationPage, DbError> {
    let (nid, version, target) = (room.nid, room.version, event_key::encode(target));
    room.db
        .read(move |tx| {
            let (mut found, depth) = collect(tx, nid, version, target, &filter)?;
            found.retain(|other| other.position > after && other.position <= upto);
            found.sort_by_key(|other| other.position);
            if direction == Direction::Backward {
                found.reverse();
            }
            let more = found.len() > limit;
            found.truncate(limit);
            let nids: Vec<EventNid> = found.iter().map(|other| other.event_nid).collect();
            let mut events = load::by_nids(tx, version, &nids)?;
            events.sort_by_key(|event| nids.iter().position(|nid| *nid == event.nid));
            Ok(RelationPage { events, more, depth })
        })
        .await
}

fn collect(
    tx: &mut Tx<'_>,
    room: RoomNid,
    version: RoomVersion,
    target: Vec<u8>,
    filter: &RelationFilter,
) -> Result<(Vec<Related>, u32), DbError> {
    let wanted = |other: &Related| {
        filter.rel_type.as_ref().is_none_or(|rel_type| other.rel_type == rel_type.as_bytes())
            && filter.event_type.as_ref().is_none_or(|event_type| other.event_type == event_type.as_bytes())
    };
    let mut found = Vec::new();
    let mut targets = vec![target];
    let mut depth = 0;
    while !targets.is_empty() && depth < if filter.recurse { MAX_RECURSION } else { 1 } {
        depth += 1;
        let level = repo::relations::of_targets(tx, room, &targets)?;
        targets = Vec::new();
        if filter.recurse {
            let nids: Vec<EventNid> = level.iter().map(|other| other.event_nid).collect();
            let events = load::by_nids(tx, version, &nids)?;
            targets.extend(events.iter().map(|event| event_key::encode(event.pdu.event_id())));
        }
        found.extend(level.into_iter().filter(wanted));
    }
    found.sort_by_key(|other| other.event_nid);
    found.dedup_by_key(|other| other.event_nid);
    Ok((found, depth))
}

/// The roots of the room's threads, those with the newest reply first, and the position of that reply. `participant`:
/// only threads this user has taken part in. `before`: only threads whose newest reply lies before this position.
pub async fn threads(
    room: &Room,
    participant: Option<&UserId>,
    before: Position,
    limit: u32,
) -> Result<Vec<(Arc<TimelineEvent>, Position)>, DbError> {
    let (nid, version) = (room.nid, room.version);
    let participant = participant.map(|user| user.as_str().to_owned());
    room.db
        .read(move |tx| {
            let roots = repo::relations::thread_roots(tx, nid, participant.as_deref(), before, limit)?;
            let mut found = Vec::with_capacity(roots.len());
            for (target, latest) in roots {
                if let Some(place) = repo::events::find(tx, &target)?
                    && place.room_nid == nid
                    && let Some(event) = load::by_nids(tx, version, &[place.event_nid])?.pop()
                {
                    found.push((event, latest));
                }
            }
            Ok(found)
        })
        .await
}
