//! Removes guests from rooms in which guest access has ended
//! (<https://spec.matrix.org/v1.19/client-server-api/#guest-access>). This is done in the background. The commit that
//! ends guest access notes the room, so that a restart loses nothing.

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::{DbError, Position, RoomNid, repo};

use crate::actions::membership::{MembershipChange, MembershipChanger};
use crate::model::limits::Authority;
use crate::model::room::Room;
use crate::model::rooms::Rooms;

/// The number of noted rooms that are read at a time.
const ROOMS_PER_READ: u32 = 100;
/// The number of members that are looked up at a time.
const MEMBERS_PER_READ: usize = 500;
/// The time after which rooms that a guest could not leave are tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(300);

/// Removes guests. A server has one.
pub struct GuestRemoval {
    rooms: Arc<Rooms>,
    members: Arc<MembershipChanger>,
}

impl GuestRemoval {
    /// Creates the service.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, members: Arc<MembershipChanger>) -> Self {
        Self { rooms, members }
    }

    /// Removes guests, one at a time. Starts with the rooms noted by an earlier run of the program. Does not return
    /// until the database is closed.
    pub async fn run(self) {
        loop {
            let is_done = match self.remove_all().await {
                Ok(is_done) => is_done,
                Err(DbError::Closed) => return,
                Err(error) => {
                    tracing::warn!("guests could not be removed from rooms: {error}");
                    false
                }
            };
            let ended = self.rooms.memory.guest_access_ended.notified();
            tokio::select! {
                () = ended => {}
                () = self.rooms.clock.sleep(RETRY_INTERVAL), if !is_done => {}
            }
        }
    }

    /// Removes the guests from all noted rooms. Returns whether all have left.
    async fn remove_all(&self) -> Result<bool, DbError> {
        let (mut after, mut is_done) = (RoomNid::MIN, true);
        loop {
            // A write, so that rooms in memory are as new as the notes.
            let noted = self.rooms.db.write(move |tx| repo::guest_access::rooms(tx, after, ROOMS_PER_READ)).await?;
            let Some(&(last, _)) = noted.last() else { return Ok(is_done) };
            after = last;
            for (nid, ended) in noted {
                is_done &= self.remove_from(nid, ended).await?;
            }
        }
    }

    async fn remove_from(&self, nid: RoomNid, ended: Position) -> Result<bool, DbError> {
        let room = match self.rooms.get_nid(nid).await {
            // It stays noted, and does not block the rooms after it.
            Err(error) if error.is_bad_data() => {
                tracing::warn!(room = nid, "guests could not be removed from a room that cannot be read: {error}");
                return Ok(false);
            }
            read => read?,
        };
        if let Some(room) = room
            && !room.view().guests_can_join
            && !self.remove_guests(&room).await?
        {
            return Ok(false);
        }
        self.rooms.db.write(move |tx| repo::guest_access::done(tx, nid, ended)).await?;
        Ok(true)
    }

    /// Removes the guests from a room. Returns whether all have left.
    async fn remove_guests(&self, room: &Room) -> Result<bool, DbError> {
        let members: Vec<UserId> = room.view().local_joined.iter().cloned().collect();
        let mut all_left = true;
        for some in members.chunks(MEMBERS_PER_READ) {
            let some = some.to_vec();
            let guests = self.rooms.db.read(move |tx| {
                let ids: Vec<&str> = some.iter().map(UserId::as_str).collect();
                repo::users::guests_among(tx, &ids)
            });
            for guest in guests.await? {
                let Ok(guest) = UserId::try_from(guest) else { continue };
                let change = MembershipChange {
                    room_id: room.id.clone(),
                    sender: guest.clone(),
                    target: guest.clone(),
                    reason: None,
                    content: Object::new(),
                    via: Vec::new(),
                    transaction: None,
                    origin_server_ts: None,
                    authority: Authority::Server,
                };
                if let Err(error) = self.members.leave(change).await {
                    tracing::warn!(%guest, room = %room.id, "a guest could not be removed from a room: {error}");
                    all_left = false;
                }
            }
        }
        Ok(all_left)
    }
}
