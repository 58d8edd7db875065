//! The rooms that users of this server share with other servers.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_protocol::id::{ServerName, UserId};
use plexus_rooms::Rooms;
use plexus_store::DbError;

/// Looks up which servers share rooms with users of this server.
#[derive(Clone)]
pub(super) struct SharedRooms {
    pub rooms: Arc<Rooms>,
}

impl SharedRooms {
    pub(super) fn new(rooms: Arc<Rooms>) -> Self {
        Self { rooms }
    }

    /// Returns the user, if it is one of this server.
    pub(super) fn local_user(&self, user_id: &str) -> Option<UserId> {
        let user = UserId::try_from(user_id).ok()?;
        (user.server_name() == self.rooms.server_name().as_str()).then_some(user)
    }

    /// Whether a user shares a room with another server.
    pub(super) async fn shares_room(&self, user: &UserId, server: &ServerName) -> Result<bool, DbError> {
        for room in self.rooms.memberships().of(user).await?.joined() {
            if let Some(room) = self.rooms.get_readable_nid(room).await?
                && room.view().servers.contains(server.as_str())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the other servers with which a user shares a room.
    pub(super) async fn servers(&self, user: &UserId) -> Result<BTreeSet<String>, DbError> {
        let mut servers = BTreeSet::new();
        let rooms = self.rooms.memberships().of(user).await?;
        for room in rooms.joined() {
            if let Some(room) = self.rooms.get_readable_nid(room).await? {
                servers.extend(room.view().servers.names().map(str::to_owned));
            }
        }
        servers.remove(self.rooms.server_name().as_str());
        Ok(servers)
    }
}
