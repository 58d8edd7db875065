//! The timeline of a room.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, RoomMembership, RoomView, TimelineEvent, relations, timeline as visibility};
use plexus_store::{DbError, EventNid, Position};

use super::context::Context;
use super::events::EventList;
use crate::history;
use crate::token::SyncToken;

/// The number of timeline events of a room for a client that does not ask for a number.
const DEFAULT_LIMIT: u64 = 10;
/// The most timeline events of a room in one response.
const MAX_LIMIT: usize = 1_000;

/// How often more events are read because too few passed the filter.
const MAX_LOADS: usize = 5;

/// A part of a timeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Only events after this.
    pub after: Position,
    /// Only events at or before this.
    pub upto: Position,
    /// The most events.
    pub limit: u64,
}

/// Which events are wanted.
struct Wanted<'w> {
    /// Only events after this.
    pub after: Position,
    /// Only events at or before this.
    pub upto: Position,
    /// The most events.
    pub limit: usize,
    /// Whether an event passes the filter.
    pub keep: &'w (dyn Fn(&TimelineEvent) -> bool + Sync),
}

/// The changes in a timeline.
#[derive(Debug)]
pub struct TimelineDelta {
    /// Oldest first.
    pub events: EventList,
    /// The user's membership at those of the events at which it was not `join`.
    pub memberships: HashMap<EventNid, Membership>,
    /// `unsigned.m.relations` of those of the events that have any, JSON.
    pub relations: HashMap<EventNid, String>,
    /// Whether events between the token and these are missing.
    pub limited: bool,
    /// Where paging back through the room's history begins.
    pub prev_batch: SyncToken,
}

/// A timeline that is being read.
#[derive(Default)]
pub(crate) struct Timeline {
    /// The events that are shown, oldest first.
    pub events: Vec<Arc<TimelineEvent>>,
    /// Everything after `start`, shown or not, oldest first.
    pub all: Vec<Arc<TimelineEvent>>,
    /// The timeline begins after this position.
    pub start: Position,
    /// Whether there are more events between what is wanted and what is shown.
    pub limited: bool,
    /// The user's membership at those of the shown events at which it was not `join`.
    pub memberships: HashMap<EventNid, Membership>,
}

/// Reads the timeline of a room as far as the user sees it, at most as many events as the filter asks for. `checked`:
/// the membership to check the room's history visibility for.
pub(super) async fn read(
    context: &Context<'_>,
    room: &Room,
    after: Position,
    upto: Position,
    checked: Option<&RoomMembership>,
) -> Result<Timeline, DbError> {
    let limit = context.filter().room.timeline.event.limit.unwrap_or(DEFAULT_LIMIT);
    read_limited(context, room, Span { after, upto, limit }, checked).await
}

/// As [`read`], with a limit of its own.
pub(crate) async fn read_limited(
    context: &Context<'_>,
    room: &Room,
    span: Span,
    checked: Option<&RoomMembership>,
) -> Result<Timeline, DbError> {
    let Span { after, upto, limit } = span;
    let filter = &context.filter().room.timeline;
    let limit = limit.min(context.parts.options.timeline_limit.unwrap_or(u64::MAX));
    let limit = usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
    let shown = filter.allows_room(room.id.as_str());
    let keep = |event: &TimelineEvent| shown && !event.is_dummy() && is_wanted(context, &event.pdu);
    let mut timeline = Timeline::load(room, Wanted { after, upto, limit, keep: &keep }).await?;
    // A user who has been in the room since before the first event sees all of them.
    if let Some(membership) = checked
        && timeline.events.first().is_some_and(|first| first.position < membership.position)
    {
        let loaded = timeline.events.len();
        let visible = visibility::visible(&context.request.user, room, timeline.events).await?;
        timeline.memberships = visible
            .iter()
            .filter(|visible| visible.membership != Membership::Join)
            .map(|visible| (visible.event.nid, visible.membership))
            .collect();
        timeline.events = visible.into_iter().map(|visible| visible.event).collect();
        if timeline.events.len() < loaded && (timeline.limited || after == 0) {
            timeline.begin_with_shown(upto);
        }
    }
    Ok(timeline)
}

fn is_wanted(context: &Context<'_>, pdu: &Pdu) -> bool {
    let sender = pdu.sender().as_str();
    let has_url = || pdu.content().get("url").is_some();
    context.settings.shows_event(pdu) && context.filter().room.timeline.allows(pdu.event_type(), sender, has_url)
}

impl Timeline {
    /// Reads events, newest first, until enough pass the filter, or back to a gap, where this server was not in the
    /// room: what it has of that time came later than what follows it, or is still to be fetched.
    async fn load(room: &Room, wanted: Wanted<'_>) -> Result<Self, DbError> {
        let Wanted { after, upto, limit, keep } = wanted;
        let gap = room.view().gaps.newest_between(after, upto);
        let after = gap.map_or(after, |top| top - 1);
        let (mut all, mut kept) = (Vec::new(), Vec::new());
        let mut reached = upto;
        let mut exhausted = false;
        for _ in 0..MAX_LOADS {
            let missing = limit + 1 - kept.len();
            let chunk = history::newest(room, after, reached, missing).await?;
            exhausted = chunk.len() < missing;
            reached = chunk.first().map_or(after, |event| event.position - 1);
            for event in chunk.into_iter().rev() {
                if keep(&event) {
                    kept.push(Arc::clone(&event));
                }
                all.push(event);
            }
            if exhausted || kept.len() > limit {
                break;
            }
        }
        let cut = kept.len() > limit;
        kept.truncate(limit);
        let start = match kept.last() {
            _ if exhausted && !cut => after,
            Some(oldest) if cut => oldest.position - 1,
            None if cut => upto,
            _ => reached,
        };
        kept.reverse();
        all.reverse();
        all.retain(|event| event.position > start);
        Ok(Self { events: kept, all, start, limited: cut || !exhausted || gap.is_some(), memberships: HashMap::new() })
    }

    /// Makes the timeline begin with the first event that is shown, for a user who may see neither what comes before
    /// nor the state then. `upto`: where the timeline ends.
    fn begin_with_shown(&mut self, upto: Position) {
        let first = self.events.first().map_or(upto, |first| first.position - 1);
        self.start = first.max(self.start);
        self.all.retain(|event| event.position > self.start);
    }

    /// Returns where paging back through the room's history begins.
    fn prev_batch(&self) -> Position {
        // The end of an invite to a room of other servers has no position in a timeline.
        let first = self.events.first().filter(|first| first.position != 0);
        first.map_or(self.start, |first| first.position - 1)
    }

    /// Adds what the events' relations are.
    pub(crate) async fn into_delta(self, context: &Context<'_>, room: &Room) -> Result<TimelineDelta, DbError> {
        let related = maybe_related(&room.view(), &self.events);
        Ok(TimelineDelta {
            relations: relations::bundle(room, &context.format(), &related).await?,
            prev_batch: SyncToken { position: self.prev_batch(), ..context.now.token() },
            events: EventList(self.events),
            memberships: self.memberships,
            limited: self.limited,
        })
    }
}

/// Returns the events that others may relate to. Relations come after the event they relate to: if all that follows an
/// event is in memory, memory knows its relations.
fn maybe_related(view: &RoomView, events: &[Arc<TimelineEvent>]) -> Vec<Arc<TimelineEvent>> {
    let Some(first) = events.first() else { return Vec::new() };
    let later = view.recent.iter().rev().take_while(|event| event.position > first.position);
    let targets: HashSet<&str> =
        later.filter_map(|event| event.pdu.content().get_object("m.relates_to")?.get_str("event_id")).collect();
    let related = |event: &&Arc<TimelineEvent>| {
        event.position <= view.recent_after || targets.contains(event.pdu.event_id().as_str())
    };
    events.iter().filter(related).cloned().collect()
}
