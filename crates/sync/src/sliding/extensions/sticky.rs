//! Sticky events (MSC4480).

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_protocol::id::RoomId;
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, Position};

use super::ExtensionReader;
use crate::delta::sticky;
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
        rooms: &RoomUpdates,
    ) -> Result<StickyUpdate, DbError> {
        let now = self.context.now.position;
        // One of the future is of a database that is no longer there.
        let since = wanted.since.filter(|since| *since <= now).unwrap_or(0);
        let limit = wanted.limit.clamp(1, sticky::MAX_STICKY_EVENTS);
        let is_subscribed = |nid| self.selection.rooms.get(&nid).is_some_and(|room| room.is_subscribed);
        let is_wanted = |room: &Room| self.selection.listed.contains(&room.nid) || is_subscribed(room.nid);
        let page = sticky::page(self.context, since, limit, is_wanted).await?;
        let mut update = StickyUpdate {
            next_batch: page.more_after.unwrap_or(now),
            has_more: page.more_after.is_some(),
            rooms: BTreeMap::new(),
        };
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
}
