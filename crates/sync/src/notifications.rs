//! `GET /notifications`: the events a user has been notified of, newest first.

use std::sync::Arc;

use plexus_base::Clock;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::ObjectWriter;
use plexus_protocol::membership::Membership;
use plexus_rooms::{ClientFormat, Rooms};
use plexus_store::{Database, DbError, Position};

use crate::unread::{Notified, UnreadCounts};

/// The most events of each room that are considered for one response.
const MAX_EVENTS_PER_ROOM: usize = 200;

/// Lists notifications.
pub struct Notifications {
    db: Database,
    clock: Clock,
    rooms: Arc<Rooms>,
    unread: Arc<UnreadCounts>,
}

impl Notifications {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, clock: Clock, rooms: Arc<Rooms>, unread: Arc<UnreadCounts>) -> Self {
        Self { db, clock, rooms, unread }
    }

    /// Returns the JSON of at most `limit` notifications for events at or before `from` (by default now), with
    /// `highlights` only those with emphasis. Of each room only the newest 200 events before `from` are considered.
    pub async fn list(
        &self,
        user: &UserId,
        from: Option<Position>,
        limit: usize,
        highlights: bool,
    ) -> Result<String, DbError> {
        let upto = from.unwrap_or_else(|| self.db.committed());
        let mut found: Vec<(RoomId, Notified)> = Vec::new();
        for membership in self.rooms.memberships().of(user).await?.iter() {
            if membership.kind != Membership::Join {
                continue;
            }
            let Some(room) = self.rooms.get_readable_nid(membership.room).await? else { continue };
            let range = (membership.position, upto);
            let notified = self.unread.notified(user, &room, range, MAX_EVENTS_PER_ROOM).await?;
            let wanted = notified.into_iter().filter(|notified| notified.highlight || !highlights);
            found.extend(wanted.map(|notified| (room.id.clone(), notified)));
        }
        found.sort_by_key(|(_, notified)| std::cmp::Reverse(notified.event.position));
        let next = found.get(limit).map(|(_, notified)| notified.event.position);
        found.truncate(limit);
        self.write(user, &found, next)
    }

    fn write(&self, user: &UserId, found: &[(RoomId, Notified)], next: Option<Position>) -> Result<String, DbError> {
        let format = ClientFormat { user, device_id: None, now_ms: self.clock.now_ms(), room_id: false };
        let mut items = Vec::with_capacity(found.len());
        for (room_id, notified) in found {
            let actions = serde_json::to_string(&notified.actions)
                .map_err(|error| DbError::bad_data("push_rules.changes", error))?;
            let mut item = String::new();
            let mut members = ObjectWriter::open(&mut item);
            members.raw("actions", &actions);
            notified.event.write_client(members.key("event"), &format, None, None);
            members.raw("read", if notified.read { "true" } else { "false" });
            members.string("room_id", room_id.as_str());
            members.number("ts", notified.event.pdu.origin_server_ts());
            members.close();
            items.push(item);
        }
        let mut out = String::new();
        let mut members = ObjectWriter::open(&mut out);
        if let Some(next) = next {
            members.string("next_token", &next.to_string());
        }
        members.array("notifications", items.iter().map(String::as_str));
        members.close();
        Ok(out)
    }
}
