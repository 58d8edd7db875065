//! Deactivation: the account is closed at once; then the user leaves all rooms. A user stays marked until the database
//! has no room left: a leave that fails is tried again, also after a restart, and a join that was under way is followed
//! by a leave.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use plexus_accounts::Deactivation;
use plexus_base::{Background, Clock};
use plexus_net::{PolicyHooks, PolicyRefusal};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Authority, MembershipChange, MembershipChanger, RoomMembership, Rooms};
use plexus_store::{DbError, RoomNid};

/// How often rooms are tried again that a deactivated user could not leave.
const RETRY_INTERVAL: Duration = Duration::from_secs(300);

/// Deactivates users and takes them out of their rooms.
#[derive(Clone)]
pub struct UserDeactivation {
    rooms: Arc<Rooms>,
    memberships: Arc<MembershipChanger>,
    accounts: Deactivation,
    background: Background,
    clock: Clock,
    policy_hooks: Option<Arc<PolicyHooks>>,
}

/// Why a user's account was not closed.
#[derive(Debug, thiserror::Error)]
pub enum DeactivationError {
    /// A policy hook refuses it.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl UserDeactivation {
    /// `accounts` closes the accounts, and remembers the users who have yet to leave their rooms.
    #[must_use]
    pub fn new(
        rooms: Arc<Rooms>,
        memberships: Arc<MembershipChanger>,
        accounts: Deactivation,
        background: Background,
        clock: Clock,
        policy_hooks: Option<Arc<PolicyHooks>>,
    ) -> Self {
        Self { rooms, memberships, accounts, background, clock, policy_hooks }
    }

    /// Closes the account of a user who asks for it, unless a policy hook refuses that.
    ///
    /// # Errors
    /// See [`DeactivationError`]; the account is unchanged then.
    pub async fn deactivate_own(&self, user: &UserId, erase: bool) -> Result<(), DeactivationError> {
        if let Some(hooks) = &self.policy_hooks {
            hooks.check_can_deactivate_user(user, false).await?;
        }
        Ok(self.close(user, erase, false).await?)
    }

    /// Closes an account for an administrator, and lets the user leave all rooms in the background.
    ///
    /// # Errors
    /// When the database fails; the account is unchanged then.
    pub async fn deactivate(&self, user: &UserId, erase: bool) -> Result<(), DbError> {
        self.close(user, erase, true).await
    }

    async fn close(&self, user: &UserId, erase: bool, by_admin: bool) -> Result<(), DbError> {
        self.accounts.deactivate(user, erase).await?;
        if let Some(hooks) = &self.policy_hooks {
            hooks.on_user_deactivated(user, by_admin);
        }
        let (this, user) = (self.clone(), user.clone());
        // What fails, or is interrupted by a shutdown, is left to [`Self::run`].
        let leave_all = async move { this.leave_all(&user).await };
        self.background.spawn_abortable("rooms of a deactivated user", leave_all);
        Ok(())
    }

    /// Takes deactivated users out of the rooms in which they still are, without end; each of them once in
    /// `RETRY_INTERVAL`. A server runs it once.
    pub async fn run(self) {
        let mut tried = HashSet::new();
        let mut interval = Box::pin(self.clock.sleep(RETRY_INTERVAL));
        loop {
            match self.accounts.unfinished().await {
                Ok(users) => {
                    for user in users {
                        if tried.insert(user.clone()) {
                            self.leave_all(&user).await;
                        }
                    }
                }
                Err(DbError::Closed) => return,
                Err(error) => tracing::error!(%error, "could not read which deactivated users have rooms to leave"),
            }
            tokio::select! {
                () = self.rooms.local_user_entered() => {}
                () = &mut interval => {
                    tried.clear();
                    interval.set(self.clock.sleep(RETRY_INTERVAL));
                }
            }
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
        for membership in of_user.iter().filter(has_to_leave) {
            self.leave(user, membership.room).await?;
        }
        self.accounts.left_rooms(user).await
    }

    /// Leaves one room. A room that cannot be left does not keep the user in the others.
    async fn leave(&self, user: &UserId, room: RoomNid) -> Result<(), DbError> {
        let room = match self.rooms.get_nid(room).await {
            Ok(Some(room)) => room,
            Ok(None) => return Ok(()),
            Err(error) if error.is_bad_data() => {
                tracing::error!(%user, room, %error, "a deactivated user could not leave a room");
                return Ok(());
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
            transaction: None,
            origin_server_ts: None,
            authority: Authority::Server,
        };
        if let Err(error) = self.memberships.leave(change).await {
            tracing::warn!(%user, room = %room.id, %error, "a deactivated user could not leave a room");
        }
        Ok(())
    }
}
