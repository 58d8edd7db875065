//! Pages of the events that relate to an event, and of the threads of a room.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::event::redact;
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::relations::{PageQuery, Related};
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx, event_key, repo};

use crate::model::direction::Direction;
use crate::model::room::Room;
use crate::model::stored_events;
use crate::model::timeline_event::TimelineEvent;

/// The depth to which `recurse` follows relations of relations: the specification's minimum.
const MAX_RECURSION: u32 = 3;
/// The maximum number of events that are read at each depth, the newest.
const MAX_RECURSIVE: usize = 5_000;
/// The maximum number of newest replies in a thread that are searched for one that the reader may see.
const MAX_REPLIES: usize = 100;

/// A filter of relations.
#[derive(Clone, Debug, Default)]
pub struct RelationFilter {
    /// `rel_type`
    pub rel_type: Option<String>,
    /// The related event's type.
    pub event_type: Option<String>,
    /// Whether to include relations of relations.
    pub recurse: bool,
}

/// A page of related events.
#[derive(Clone, Debug)]
pub struct RelationPage {
    /// The events, in the requested direction.
    pub events: Vec<Arc<TimelineEvent>>,
    /// Whether there are more.
    pub more: bool,
    /// The depth that `recurse` reached.
    pub depth: u32,
}

/// Returns events that relate to `target`, with `after < position <= upto`, in a direction.
///
/// # Errors
/// When the database fails.
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

/// Returns a page of events that relate to an event directly or indirectly, and the depth that was reached.
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

/// A request for a page of threads.
#[derive(Clone, Copy, Debug)]
pub struct ThreadFilter {
    /// Only threads that the reader has taken part in.
    pub participated: bool,
    /// Replies after this position are ignored.
    pub upto: Position,
    /// Only threads whose newest reply is before this position.
    pub before: Position,
    /// The maximum number of threads.
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

/// Returns the roots of threads in which the reader may see a reply and does not ignore its sender. Roots of ignored
/// users are redacted. [`crate::read::timeline::visible`] decides whether the reader may see the roots.
///
/// # Errors
/// When the database fails.
pub async fn threads(room: &Room, reader: &UserId, filter: ThreadFilter) -> Result<ThreadPage, DbError> {
    let (nid, version) = (room.nid, room.version);
    let ThreadFilter { participated, upto, before, limit } = filter;
    let participant = participated.then(|| reader.as_str().to_owned());
    let user = reader.clone();
    let (events, replies, next, ignored) = room
        .db
        .read(move |tx| {
            let roots = repo::relations::thread_roots(tx, nid, participant.as_deref(), (upto, before), limit)?;
            let next = match roots.last() {
                Some((_, latest)) => (roots.len() == limit as usize).then_some(*latest),
                // An empty page: the next one begins at the same place.
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
            let ignored = super::ignored_by(tx, &user)?;
            replies.retain(|reply| !ignored.contains(&reply.sender));
            Ok::<_, DbError>((stored_events::by_nids(tx, version, &nids)?, replies, next, ignored))
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
    let shown = |root: Arc<TimelineEvent>| {
        if !ignored.contains(root.pdu.sender().as_str()) {
            return root;
        }
        Arc::new(TimelineEvent { pdu: redact::redact(&root.pdu), ..TimelineEvent::clone(&root) })
    };
    Ok(ThreadPage { roots: roots.into_iter().map(|(_, root)| shown(root)).collect(), next })
}
