//! Guests leave the rooms in which guest access has ended (client-server API, "Guest access"): the event that ends it
//! is answered without waiting for them. The commit that ends it notes the room, so that a restart loses nothing.

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::{DbError, Position, RoomNid, repo};

use crate::actions::membership::{MembershipChange, MembershipChanger};
use crate::model::limits::Authority;
use crate::model::room::Room;
use crate::model::rooms::Rooms;

/// How many noted rooms are read at a time.
const ROOMS_AT_ONCE: u32 = 100;
/// How many members are looked up at a time.
const MEMBERS_AT_ONCE: usize = 500;
/// When rooms are tried again that a guest could not leave.
const PAUSE: Duration = Duration::from_secs(300);

/// Makes guests leave. A server has one.
pub struct GuestRemoval {
    rooms: Arc<Rooms>,
    members: Arc<MembershipChanger>,
}

impl GuestRemoval {
    /// For guests in these rooms.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, members: Arc<MembershipChanger>) -> Self {
        Self { rooms, members }
    }

    /// Makes guests leave, without end: first those that a former run of the program left in a room. One leaves at a
    /// time.
    pub async fn run(self) {
        loop {
            let is_done = match self.remove_all().await {
                Ok(is_done) => is_done,
                Err(DbError::Closed) => return,
                Err(error) => {
                    tracing::warn!("guests stay in rooms that are closed to them: {error}");
                    false
                }
            };
            let ended = self.rooms.memory.guest_access_ended.notified();
            tokio::select! {
                () = ended => {}
                () = self.rooms.clock.sleep(PAUSE), if !is_done => {}
            }
        }
    }

    /// Goes through the noted rooms; whether all guests have left.
    async fn remove_all(&self) -> Result<bool, DbError> {
        let (mut after, mut is_done) = (RoomNid::MIN, true);
        loop {
            // As a writer: what is noted by then has reached the rooms in memory, too.
            let noted = self.rooms.db.write(move |tx| repo::guest_access::rooms(tx, after, ROOMS_AT_ONCE)).await?;
            let Some(&(last, _)) = noted.last() else { return Ok(is_done) };
            after = last;
            for (nid, ended) in noted {
                is_done &= self.remove_from(nid, ended).await?;
            }
        }
    }

    async fn remove_from(&self, nid: RoomNid, ended: Position) -> Result<bool, DbError> {
        let room = match self.rooms.get_nid(nid).await {
            // It stays noted, and those after it are not held up.
            Err(error) if error.is_bad_data() => {
                tracing::warn!(room = nid, "guests stay in a room that cannot be read: {error}");
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

    /// Whether all guests have left the room.
    async fn remove_guests(&self, room: &Room) -> Result<bool, DbError> {
        let members: Vec<UserId> = room.view().local_joined.iter().cloned().collect();
        let mut all_left = true;
        for some in members.chunks(MEMBERS_AT_ONCE) {
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
                    authority: Authority::Server,
                };
                if let Err(error) = self.members.leave(change).await {
                    tracing::warn!(%guest, room = %room.id, "a guest stays in a closed room: {error}");
                    all_left = false;
                }
            }
        }
        Ok(all_left)
    }
}
