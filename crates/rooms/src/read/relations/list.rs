//! Paging through what relates to an event, and through a room's threads.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::relations::{PageQuery, Related};
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx, event_key, repo};

use crate::model::direction::Direction;
use crate::model::room::Room;
use crate::model::stored_events;
use crate::model::timeline_event::TimelineEvent;

/// How far `recurse` follows relations of relations (client-server API: at least 3).
const MAX_RECURSION: u32 = 3;
/// How many events are looked at for each of these steps, the newest.
const MAX_RECURSIVE: usize = 5_000;
/// How many of the newest replies in a thread are looked at for one that the reader may see.
const MAX_REPLIES: usize = 100;

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
    let RelationFilter { rel_type, event_type, recurse } = filter;
    let query = PageQuery {
        target,
        rel_type: rel_type.map(String::into_bytes),
        event_type: event_type.map(String::into_bytes),
        after,
        upto,
        limit: limit as u64 + 1,
        oldest_first: direction == Direction::Forward,
    };
    room.db
        .read(move |tx| {
            let (mut found, depth) = if recurse {
                recursive(tx, nid, version, &query)?
            } else {
                (repo::relations::page(tx, nid, &query)?, 1)
            };
            let more = found.len() > limit;
            found.truncate(limit);
            let nids: Vec<EventNid> = found.iter().map(|other| other.event_nid).collect();
            let mut events = stored_events::by_nids(tx, version, &nids)?;
            events.sort_by_key(|event| nids.iter().position(|nid| *nid == event.nid));
            Ok(RelationPage { events, more, depth })
        })
        .await
}

/// A page of what relates to an event, and to that; and how deep it goes.
fn recursive(
    tx: &mut Tx<'_>,
    room: RoomNid,
    version: RoomVersion,
    query: &PageQuery,
) -> Result<(Vec<Related>, u32), DbError> {
    let wanted = |other: &Related| {
        query.rel_type.as_ref().is_none_or(|rel_type| other.rel_type == *rel_type)
            && query.event_type.as_ref().is_none_or(|event_type| other.event_type == *event_type)
            && query.after < other.position
            && other.position <= query.upto
    };
    let mut found = Vec::new();
    let mut targets = vec![query.target.clone()];
    let mut depth = 0;
    while !targets.is_empty() && depth < MAX_RECURSION {
        depth += 1;
        let level = repo::relations::of_targets(tx, room, &targets, MAX_RECURSIVE)?;
        let nids: Vec<EventNid> = level.iter().map(|other| other.event_nid).collect();
        let events = stored_events::by_nids(tx, version, &nids)?;
        targets = events.iter().map(|event| event_key::encode(event.pdu.event_id())).collect();
        found.extend(level.into_iter().filter(wanted));
    }
    found.sort_by_key(|other| other.event_nid);
    found.dedup_by_key(|other| other.event_nid);
    found.sort_by_key(|other| other.position);
    if !query.oldest_first {
        found.reverse();
    }
    Ok((found, depth))
}

/// Which threads are wanted.
#[derive(Clone, Copy, Debug)]
pub struct ThreadFilter {
    /// Only threads that the reader has taken part in.
    pub participated: bool,
    /// Only replies at or before this position count.
    pub upto: Position,
    /// Only threads whose newest reply lies before this position.
    pub before: Position,
    /// How many.
    pub limit: u32,
}

/// A page of threads.
#[derive(Clone, Debug)]
pub struct ThreadPage {
    /// The roots, those with the newest reply first.
    pub roots: Vec<Arc<TimelineEvent>>,
    /// `before` for the next page, when there is one.
    pub next: Option<Position>,
}

/// The roots of those of the room's threads in which the reader may see a reply. Whether they may see the roots is for
/// [`crate::read::timeline::visible`] to say.
pub async fn threads(room: &Room, reader: &UserId, filter: ThreadFilter) -> Result<ThreadPage, DbError> {
    let (nid, version) = (room.nid, room.version);
    let ThreadFilter { participated, upto, before, limit } = filter;
    let participant = participated.then(|| reader.as_str().to_owned());
    let (events, replies, next) = room
        .db
        .read(move |tx| {
            let roots = repo::relations::thread_roots(tx, nid, participant.as_deref(), (upto, before), limit)?;
            let next = match roots.last() {
                Some((_, latest)) => (roots.len() == limit as usize).then_some(*latest),
                // Nothing was asked for: it goes on where this page began.
                None => (limit == 0).then(|| before.min(upto.saturating_add(1))),
            };
            let targets: Vec<Vec<u8>> = roots.into_iter().map(|(target, _)| target).collect();
            let mut replies = Vec::new();
            for target in &targets {
                replies.extend(repo::relations::newest(tx, nid, target, b"m.thread", MAX_REPLIES)?);
            }
            let mut nids = Vec::with_capacity(targets.len());
            for target in targets {
                let place = repo::events::find(tx, &target)?.filter(|place| place.room_nid == nid);
                nids.extend(place.map(|place| place.event_nid));
            }
            Ok::<_, DbError>((stored_events::by_nids(tx, version, &nids)?, replies, next))
        })
        .await?;
    let mut latest: HashMap<Vec<u8>, Position> = HashMap::new();
    for reply in super::visible(room, reader, replies).await? {
        let position = latest.entry(reply.target).or_insert(reply.position);
        *position = reply.position.max(*position);
    }
    let newest_reply = |root: &TimelineEvent| latest.get(&event_key::encode(root.pdu.event_id())).copied();
    let mut roots: Vec<_> = events.into_iter().filter_map(|root| Some((newest_reply(&root)?, root))).collect();
    roots.sort_by_key(|(latest, _)| Reverse(*latest));
    Ok(ThreadPage { roots: roots.into_iter().map(|(_, root)| root).collect(), next })
}
