//! Deactivation: the account is closed at once; then the user leaves all rooms, which is resumed after a restart.

use std::sync::Arc;

use plexus_accounts::Deactivation;
use plexus_base::Background;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Authority, MembershipChange, MembershipChanger, RoomMembership, Rooms};
use plexus_store::{DbError, RoomNid};

/// Deactivates users and takes them out of their rooms.
#[derive(Clone)]
pub struct UserDeactivation {
    rooms: Arc<Rooms>,
    memberships: Arc<MembershipChanger>,
    accounts: Deactivation,
    background: Background,
}

impl UserDeactivation {
    /// `accounts` closes the accounts, and remembers the users who have yet to leave their rooms.
    #[must_use]
    pub fn new(
        rooms: Arc<Rooms>,
        memberships: Arc<MembershipChanger>,
        accounts: Deactivation,
        background: Background,
    ) -> Self {
        Self { rooms, memberships, accounts, background }
    }

    /// Closes the account, and lets the user leave all rooms in the background.
    ///
    /// # Errors
    /// When the database fails; the account is unchanged then.
    pub async fn deactivate(&self, user: &UserId, erase: bool) -> Result<(), DbError> {
        self.accounts.deactivate(user, erase).await?;
        let (this, user) = (self.clone(), user.clone());
        // Resumed after a restart.
        let leave_all = async move { this.leave_all(&user).await };
        self.background.spawn_abortable("rooms of a deactivated user", leave_all);
        Ok(())
    }

    /// Finishes what the last shutdown interrupted.
    pub async fn resume(self) {
        match self.accounts.unfinished().await {
            Ok(users) => {
                for user in users {
                    self.leave_all(&user).await;
                }
            }
            Err(error) => tracing::error!(%error, "could not read which deactivated users have rooms to leave"),
        }
    }

    /// Leaves every room of the user, and rejects every invite.
    async fn leave_all(&self, user: &UserId) {
        if let Err(error) = self.try_to_leave_all(user).await {
            tracing::error!(%user, %error, "could not take a deactivated user out of all rooms");
        }
    }

    async fn try_to_leave_all(&self, user: &UserId) -> Result<(), DbError> {
        let of_user = self.rooms.memberships().of(user).await?;
        let has_to_leave = |membership: &&RoomMembership| {
            matches!(membership.kind, Membership::Join | Membership::Invite | Membership::Knock)
        };
        let mut is_finished = true;
        for membership in of_user.iter().filter(has_to_leave) {
            is_finished &= self.leave(user, membership.room).await?;
        }
        if is_finished {
            self.accounts.left_rooms(user).await?;
        }
        Ok(())
    }

    /// Leaves one room; `false` when it cannot be read: that is tried again after the next start. A room that cannot be
    /// left does not keep the user in the others.
    async fn leave(&self, user: &UserId, room: RoomNid) -> Result<bool, DbError> {
        let room = match self.rooms.get_nid(room).await {
            Ok(Some(room)) => room,
            Ok(None) => return Ok(true),
            Err(error) if error.is_bad_data() => {
                tracing::error!(%user, room, %error, "a deactivated user could not leave a room");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let change = MembershipChange {
            room_id: room.id.clone(),
            sender: user.clone(),
            target: user.clone(),
            reason: None,
            content: Object::new(),
            via: Vec::new(),
            authority: Authority::Server,
        };
        if let Err(error) = self.memberships.leave(change).await {
            tracing::warn!(%user, room = %room.id, %error, "a deactivated user could not leave a room");
        }
        Ok(true)
    }
}
