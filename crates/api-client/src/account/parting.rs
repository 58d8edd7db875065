//! Deactivation: the account is closed, then the user leaves all rooms, which a restart takes up again.

use std::sync::Arc;

use plexus_accounts::Deactivation;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_rooms::{Authority, Membership, MembershipChange, MembershipChanger, MembershipKind, Rooms};
use plexus_store::{DbError, RoomNid};

/// Deactivates users and takes them out of their rooms.
#[derive(Clone)]
pub struct Parting {
    rooms: Arc<Rooms>,
    memberships: Arc<MembershipChanger>,
    deactivation: Deactivation,
}

impl Parting {
    /// Who still has to leave is known to `deactivation`.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, memberships: Arc<MembershipChanger>, deactivation: Deactivation) -> Self {
        Self { rooms, memberships, deactivation }
    }

    /// Closes the account, and has the user leave all rooms in its own time.
    ///
    /// # Errors
    /// When the database fails; the account is as before then.
    pub async fn deactivate(&self, user: &UserId, erase: bool) -> Result<(), DbError> {
        self.deactivation.deactivate(user, erase).await?;
        let (parting, user) = (self.clone(), user.clone());
        tokio::spawn(async move { parting.part(&user).await });
        Ok(())
    }

    /// Finishes what the last shutdown interrupted.
    pub async fn resume(self) {
        match self.deactivation.unfinished().await {
            Ok(users) => {
                for user in users {
                    self.part(&user).await;
                }
            }
            Err(error) => tracing::error!(%error, "could not read which deactivated users have rooms to leave"),
        }
    }

    /// Leaves every room of the user, and declines every invite.
    async fn part(&self, user: &UserId) {
        if let Err(error) = self.leave_all(user).await {
            tracing::error!(%user, %error, "could not take a deactivated user out of all rooms");
        }
    }

    async fn leave_all(&self, user: &UserId) -> Result<(), DbError> {
        let of_user = self.rooms.memberships().of(user).await?;
        let in_it = |membership: &&Membership| {
            matches!(membership.kind, MembershipKind::Join | MembershipKind::Invite | MembershipKind::Knock)
        };
        for membership in of_user.iter().filter(in_it) {
            self.leave(user, membership.room).await?;
        }
        self.deactivation.left_rooms(user).await
    }

    /// A room that cannot be left does not keep the user in the others.
    async fn leave(&self, user: &UserId, room: RoomNid) -> Result<(), DbError> {
        let Some(room) = self.rooms.get_nid(room).await? else { return Ok(()) };
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
        Ok(())
    }
}
