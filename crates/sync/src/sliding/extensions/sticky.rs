//! Sticky events (MSC4480).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_protocol::id::RoomId;
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, Position, RoomNid};

use super::ExtensionReader;
use crate::delta::sticky::{self, StickyPage};
use crate::sliding::connections::StateChange;
use crate::sliding::request::StickyExtension;
use crate::sliding::rooms::RoomUpdates;

/// Sticky events that the client does not have.
#[derive(Debug)]
pub(in crate::sliding) struct StickyUpdate {
    pub next_batch: Position,
    /// Whether there are more, even if the client gets none of these.
    pub has_more: bool,
    pub rooms: BTreeMap<RoomId, Vec<Arc<TimelineEvent>>>,
}

impl ExtensionReader<'_> {
    /// Reads the sticky events that the client does not have and that are not in a timeline of the same response.
    pub(super) async fn sticky_events(
        &self,
        wanted: StickyExtension,
        rooms: &mut RoomUpdates,
    ) -> Result<StickyUpdate, DbError> {
        let now = self.context.now.position;
        // One of the future is of a database that is no longer there.
        let since = wanted.since.filter(|since| *since <= now).unwrap_or(0);
        let limit = wanted.limit.clamp(1, sticky::MAX_STICKY_EVENTS);
        let mut sent_rooms = self.rooms_with_sticky_events();
        // The client has nothing at or before `since` of a room that it did not ask for until now.
        let late: Vec<RoomNid> = match (&rooms.state.sticky_rooms, self.from) {
            (Some(before), Some(_)) if since > 0 => sent_rooms.difference(before).copied().collect(),
            _ => Vec::new(),
        };
        let is_wanted = |room: &Room| sent_rooms.contains(&room.nid) && !late.contains(&room.nid);
        let mut page = sticky::page(self.context, since, limit, is_wanted).await?;
        let left_out = self.add_late_rooms(&mut page, &late, limit).await?;
        let mut update = StickyUpdate {
            next_batch: page.more_after.unwrap_or(now),
            has_more: page.more_after.is_some() || !left_out.is_empty(),
            rooms: BTreeMap::new(),
        };
        sent_rooms.retain(|nid| !left_out.contains(nid));
        if rooms.state.sticky_rooms.as_deref() != Some(&sent_rooms) {
            rooms.state.sticky_rooms = Some(Arc::new(sent_rooms));
            rooms.changed_by(StateChange::Durable);
        }
        for (nid, sticky) in page.rooms {
            let Some(room) = self.context.parts.rooms.get_readable_nid(nid).await? else { continue };
            let timeline = rooms.updates.get(&nid).and_then(|update| update.timeline.as_ref());
            let in_timeline = timeline.map_or(&[][..], |timeline| &timeline.events);
            let events = sticky::events(self.context, &room, &sticky, in_timeline).await?;
            if !events.is_empty() {
                update.rooms.insert(room.id.clone(), events);
            }
        }
        Ok(update)
    }

    /// Returns the rooms with sticky events among those in the lists, whatever their ranges, and those subscribed to.
    fn rooms_with_sticky_events(&self) -> BTreeSet<RoomNid> {
        let is_subscribed = |nid| self.selection.rooms.get(&nid).is_some_and(|room| room.is_subscribed);
        let sticky = self.context.parts.rooms.sticky_events().newest_in(&self.context.memberships);
        let rooms = sticky.into_iter().map(|(nid, _)| nid);
        rooms.filter(|nid| self.selection.listed.contains(nid) || is_subscribed(*nid)).collect()
    }

    /// Adds all sticky events of whole rooms while a page has fewer than `limit`. Returns the rooms that are left out.
    async fn add_late_rooms<'l>(
        &self,
        page: &mut StickyPage,
        late: &'l [RoomNid],
        limit: usize,
    ) -> Result<&'l [RoomNid], DbError> {
        let mut events: usize = page.rooms.values().map(Vec::len).sum();
        for (at, nid) in late.iter().enumerate() {
            if events >= limit {
                return Ok(&late[at..]);
            }
            let room = self.context.parts.rooms.get_readable_nid(*nid).await?;
            // A room that cannot be seen yet comes when it can.
            if room.is_some_and(|room| self.context.visible_from(&room).is_some()) {
                let mut sticky = self.context.parts.rooms.sticky_events().in_room(*nid);
                sticky.retain(|event| event.position <= self.context.now.position);
                events += sticky.len();
                page.rooms.insert(*nid, sticky);
            }
        }
        Ok(&[])
    }
}
