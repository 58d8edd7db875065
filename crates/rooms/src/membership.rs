//! Joining, inviting, leaving, knocking, kicking, banning, forgetting.

mod restricted;

use std::sync::Arc;

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_store::{DbError, repo};

use crate::build::{Draft, Sent};
use crate::error::SendError;
use crate::membership_kind::MembershipKind;
use crate::memberships::Membership;
use crate::profile;
use crate::registry::Rooms;
use crate::room::Room;

/// A change of membership to be made.
#[derive(Clone, Debug)]
pub struct MembershipChange {
    /// The room.
    pub room_id: RoomId,
    /// A local user: who makes the change.
    pub sender: UserId,
    /// Whose membership changes.
    pub target: UserId,
    /// Why.
    pub reason: Option<String>,
    /// More for the member event's content; its `membership` is ignored.
    pub content: Object,
}

/// Why a membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The user has to be in the room for that.
    #[error("the user is not in the room")]
    TargetNotInRoom,
    /// The user has to be banned for that.
    #[error("the user is not banned")]
    NotBanned,
    /// The user is banned; unban first.
    #[error("the user is banned")]
    Banned,
    /// The room lets in members of other rooms, and the user is in none of them.
    #[error("you do not belong to any of the required rooms to join this room")]
    NotInAllowedRoom,
    /// Nobody on this server has the power to let the user in.
    #[error("no user of this server can let others in")]
    UnableToGrantJoin,
    /// The room has no place for guests.
    #[error("guest access is not allowed in this room")]
    GuestsForbidden,
    /// Users of other servers cannot be invited: this server does not federate yet.
    #[error("users of other servers cannot be invited")]
    RemoteUser,
    /// A room the user is in cannot be forgotten.
    #[error("the user is in the room")]
    StillInRoom,
    /// The room, or the database.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl From<DbError> for MembershipError {
    fn from(error: DbError) -> Self {
        Self::Send(error.into())
    }
}

/// Changes memberships of and by local users.
pub struct MembershipChanger {
    rooms: Arc<Rooms>,
    /// Whether invites carry the invited user's profile.
    invite_profiles: bool,
}

impl MembershipChanger {
    /// A changer of memberships in these rooms.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, invite_profiles: bool) -> Self {
        Self { rooms, invite_profiles }
    }

    /// `target` joins; it is also the sender. `guest`: the user is a guest.
    pub async fn join(&self, change: MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        let view = room.view();
        let membership = view.state.membership(change.target.as_str());
        if guest && !view.guests_can_join && membership != Some(MembershipKind::Join) {
            return Err(MembershipError::GuestsForbidden);
        }
        let mut extra = change.content.clone();
        if let Some(authoriser) = restricted::authoriser(&self.rooms, &room, &change.target).await? {
            extra.insert("join_authorised_via_users_server", authoriser.as_str());
        }
        if guest {
            extra.insert("kind", "guest");
        }
        let change = MembershipChange { content: extra, ..change };
        self.set(&room, &change, "join", Some(&change.target)).await
    }

    /// `sender` invites `target`.
    pub async fn invite(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        if room.view().state.membership(change.target.as_str()) == Some(MembershipKind::Ban) {
            return Err(MembershipError::Banned);
        }
        if change.target.server_name() != self.rooms.server_name().as_str() {
            return Err(MembershipError::RemoteUser);
        }
        let shown = self.invite_profiles.then_some(&change.target);
        self.set(&room, &change, "invite", shown).await
    }

    /// `target` knocks; it is also the sender.
    pub async fn knock(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        self.set(&room, &change, "knock", Some(&change.target)).await
    }

    /// `target` leaves, rejects an invite or takes back a knock; it is also the sender.
    pub async fn leave(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        self.set(&room, &change, "leave", None).await
    }

    /// `sender` removes `target`.
    pub async fn kick(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        match room.view().state.membership(change.target.as_str()) {
            Some(MembershipKind::Join | MembershipKind::Invite | MembershipKind::Knock) => {
                self.set(&room, &change, "leave", None).await
            }
            Some(MembershipKind::Ban) => Err(MembershipError::Banned),
            Some(MembershipKind::Leave) | None => Err(MembershipError::TargetNotInRoom),
        }
    }

    /// `sender` bans `target`.
    pub async fn ban(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        self.set(&room, &change, "ban", None).await
    }

    /// `sender` lifts the ban of `target`.
    pub async fn unban(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        if room.view().state.membership(change.target.as_str()) != Some(MembershipKind::Ban) {
            return Err(MembershipError::NotBanned);
        }
        self.set(&room, &change, "leave", None).await
    }

    /// `sender` ends the membership of `target`, whatever it is: kicks or unbans.
    pub async fn remove(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        if matches!(room.view().state.membership(change.target.as_str()), None | Some(MembershipKind::Leave)) {
            return Err(MembershipError::TargetNotInRoom);
        }
        self.set(&room, &change, "leave", None).await
    }

    /// The user's client no longer lists the room, which the user has left.
    pub async fn forget(&self, room_id: &RoomId, user: &UserId) -> Result<(), MembershipError> {
        let room = self.room(room_id).await?;
        let known = self.rooms.memberships().of(user).await?.get(room.nid).copied();
        let Some(known) = known else { return Err(MembershipError::TargetNotInRoom) };
        let (nid, key) = (room.nid, user.clone());
        let forgotten = self.rooms.db.write(move |tx| repo::memberships::forget(tx, &key, nid)).await?;
        if !forgotten {
            return Err(MembershipError::StillInRoom);
        }
        self.rooms.memberships().apply(user, Membership { forgotten: true, ..known });
        Ok(())
    }

    async fn room(&self, room_id: &RoomId) -> Result<Arc<Room>, MembershipError> {
        Ok(self.rooms.get(room_id).await?.ok_or(SendError::UnknownRoom)?)
    }

    /// Sends the member event; `shown`: whose name and avatar it carries.
    async fn set(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
    ) -> Result<Sent, MembershipError> {
        let mut content = profile::member_content(&self.rooms.db, membership, shown).await?;
        for (key, value) in change.content.iter() {
            if key != "membership" {
                content.insert(key, value.clone());
            }
        }
        if let Some(reason) = &change.reason {
            content.insert("reason", Value::from(reason.as_str()));
        }
        let draft = Draft::state(&change.sender, "m.room.member", change.target.as_str(), content);
        Ok(self.rooms.append(room, &draft).await?)
    }
}
