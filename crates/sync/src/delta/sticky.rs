//! Sticky events (MSC4354): those that a device has not been sent come beside the timeline, whatever its limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use plexus_rooms::{Room, TimelineEvent, timeline};
use plexus_store::{DbError, EventNid, Position, RoomNid, StickyEvent};

use super::context::Context;
use super::membership::was_joined_at;
use crate::notifier::MaybeChanged;

/// The most sticky events of all rooms in one response, as the proposal suggests. Others follow in the next.
pub(crate) const MAX_STICKY_EVENTS: usize = 100;

/// The sticky events that a device is sent next, without the events themselves.
#[derive(Debug, Default)]
pub(crate) struct StickyPage {
    /// Of each room in the order of their positions.
    pub rooms: BTreeMap<RoomNid, Vec<StickyEvent>>,
    /// Set when there are more: the position after which they are.
    pub more_after: Option<Position>,
}

/// Returns the sticky events that come to a device after `after`, the oldest `limit`, of rooms that `is_wanted`. Those
/// of a room that it has come to see since come with the room, together.
pub(crate) async fn page(
    context: &Context<'_>,
    after: Position,
    limit: usize,
    is_wanted: impl Fn(&Room) -> bool,
) -> Result<StickyPage, DbError> {
    let sticky = context.parts.rooms.sticky_events();
    let mut found: Vec<(Position, StickyEvent)> = Vec::new();
    for (nid, newest) in sticky.newest_in(&context.memberships) {
        let Some(membership) = context.memberships.get(nid) else { continue };
        // Its state may have become complete: that is a change, too.
        let changed = context.parts.notifier.index().event_after(nid, after);
        if newest.max(membership.position) <= after && changed == MaybeChanged::Known(false) {
            continue;
        }
        let room = context.parts.rooms.get_readable_nid(nid).await?;
        let Some(room) = room.filter(|room| is_wanted(room)) else { continue };
        let Some(visible_from) = context.visible_from(&room) else { continue };
        let mut seen_from = visible_from;
        if membership.position > after && after > 0 && !was_joined_at(context, &room, after).await? {
            seen_from = seen_from.max(membership.position);
        }
        found.extend(sticky.in_room(nid).into_iter().map(|event| (event.position.max(seen_from), event)));
    }
    found.retain(|(position, _)| (after + 1..=context.now.position).contains(position));
    found.sort_by_key(|(position, event)| (*position, event.position));
    let mut page = StickyPage::default();
    if found.len() > limit
        && let Some((last, _)) = limit.checked_sub(1).and_then(|last| found.get(last)).copied()
    {
        let kept = found.partition_point(|(position, _)| *position <= last);
        page.more_after = (kept < found.len()).then_some(last);
        found.truncate(kept);
    }
    for (_, event) in found {
        page.rooms.entry(event.room_nid).or_default().push(event);
    }
    Ok(page)
}

/// Returns the sticky events of a room themselves, without those in its timeline and those that the user is not shown.
pub(crate) async fn events(
    context: &Context<'_>,
    room: &Room,
    sticky: &[StickyEvent],
    in_timeline: &[Arc<TimelineEvent>],
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let is_sent = |nid: EventNid| in_timeline.iter().any(|event| event.nid == nid);
    let nids: Vec<EventNid> = sticky.iter().map(|event| event.event_nid).filter(|nid| !is_sent(*nid)).collect();
    if nids.is_empty() {
        return Ok(Vec::new());
    }
    let loaded = timeline::by_nids(room, nids.clone()).await?;
    let loaded = timeline::without_erased(&context.request.user, room, loaded).await?;
    let mut by_nid: HashMap<EventNid, Arc<TimelineEvent>> =
        loaded.into_iter().map(|event| (event.nid, event)).collect();
    // A redacted event is not sticky any more.
    let is_shown = |event: &Arc<TimelineEvent>| {
        event.pdu.sticky_duration_ms().is_some() && !context.settings.ignored.contains(event.pdu.sender().as_str())
    };
    Ok(nids.iter().filter_map(|nid| by_nid.remove(nid)).filter(is_shown).collect())
}
