//! Joining, inviting, leaving, knocking, kicking, banning, forgetting.

mod remote;
pub(crate) mod restricted;
mod third_party;

use std::sync::Arc;

use plexus_net::federation::FederationError;
use plexus_protocol::auth::AuthRejection;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_store::{DbError, repo};
use serde_json::value::RawValue;

use crate::build::{Built, Draft, Sent};
use crate::error::SendError;
use crate::membership_kind::MembershipKind;
use crate::memberships::Membership;
use crate::profile;
use crate::receive::{Accepted, PduReceiver, ReceiveError};
use crate::registry::Rooms;
use crate::room::Room;
use crate::serve;

use remote::Remote;

pub(crate) use remote::along;
pub use third_party::Redemption;

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
    /// For joins and knocks: servers that may be in the room, to be asked in this order if this one is not.
    pub via: Vec<ServerName>,
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
    /// Users of other servers cannot be invited by a server that does not federate.
    #[error("users of other servers cannot be invited")]
    RemoteUser,
    /// Nobody is known who is in the room.
    #[error("no server is known that is in the room")]
    NoServer,
    /// The other server told no usable state of the room.
    #[error("the other server told no usable state of the room")]
    BadState,
    /// Another server was needed and did not do its part.
    #[error(transparent)]
    Remote(#[from] FederationError),
    /// The event was not taken in.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A room the user is in cannot be forgotten.
    #[error("the user is in the room")]
    StillInRoom,
    /// Nobody in the room has invited the owner of that address.
    #[error("nobody has invited the owner of that address")]
    NotInvited,
    /// The identity server's key has been withdrawn, or cannot be asked about.
    #[error("the identity server does not stand by its key")]
    IdentityKey,
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
    /// Takes in what is done by way of other servers; `None`: nothing is.
    receiver: Option<Arc<PduReceiver>>,
}

impl MembershipChanger {
    /// A changer of memberships in these rooms.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, invite_profiles: bool) -> Self {
        Self { rooms, invite_profiles, receiver: None }
    }

    /// The same, which turns to other servers for rooms this one is not in.
    #[must_use]
    pub fn federating(self, receiver: Arc<PduReceiver>) -> Self {
        Self { receiver: Some(receiver), ..self }
    }

    /// `target` joins; it is also the sender. `guest`: the user is a guest.
    pub async fn join(&self, change: MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        let servers = self.ways_in(&change).await?;
        let Some(room) = self.room_here(&change.room_id).await? else {
            return self.remote(&servers)?.join(&change, &servers).await;
        };
        let first_try = self.join_here(&room, change.clone(), guest).await;
        match first_try {
            // Somebody on another server may be able to let the user in.
            Err(MembershipError::UnableToGrantJoin | MembershipError::NotInAllowedRoom) if !servers.is_empty() => {
                match self.remote(&servers)?.join(&change, &servers).await {
                    Err(MembershipError::Remote(_)) => first_try,
                    second_try => second_try,
                }
            }
            _ => first_try,
        }
    }

    async fn join_here(
        &self,
        room: &Arc<Room>,
        change: MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        if room.view().state.membership(change.target.as_str()) != Some(MembershipKind::Join) {
            self.rooms.full_state(room).await?;
        }
        let view = room.view();
        let membership = view.state.membership(change.target.as_str());
        if guest && !view.guests_can_join && membership != Some(MembershipKind::Join) {
            return Err(MembershipError::GuestsForbidden);
        }
        let mut extra = change.content.clone();
        if let Some(authoriser) = restricted::authoriser(&self.rooms, room, &change.target).await? {
            extra.insert("join_authorised_via_users_server", authoriser.as_str());
        }
        if guest {
            extra.insert("kind", "guest");
        }
        let change = MembershipChange { content: extra, ..change };
        self.set(room, &change, "join", Some(&change.target)).await
    }

    /// `sender` invites `target`.
    pub async fn invite(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.whole_room(&change.room_id).await?;
        if room.view().state.membership(change.target.as_str()) == Some(MembershipKind::Ban) {
            return Err(MembershipError::Banned);
        }
        if change.target.server_name() != self.rooms.server_name().as_str() {
            return self.invite_elsewhere(&room, &change).await;
        }
        let shown = self.invite_profiles.then_some(&change.target);
        self.set(&room, &change, "invite", shown).await
    }

    /// `target` knocks; it is also the sender.
    pub async fn knock(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        match self.room_here(&change.room_id).await? {
            Some(room) => self.set(&room, &change, "knock", Some(&change.target)).await,
            None => {
                let servers = self.ways_in(&change).await?;
                self.remote(&servers)?.knock(&change, &servers).await
            }
        }
    }

    /// `target` leaves, rejects an invite or takes back a knock; it is also the sender.
    pub async fn leave(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        let membership = room.view().state.membership(change.target.as_str());
        let waits = matches!(membership, Some(MembershipKind::Invite | MembershipKind::Knock));
        if waits && is_elsewhere(&room) && self.receiver.is_some() {
            let servers = self.ways_in(&change).await?;
            return self.remote(&servers)?.leave(&room, &change, &servers).await;
        }
        self.set(&room, &change, "leave", None).await
    }

    /// `sender` removes `target`.
    pub async fn kick(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.whole_room(&change.room_id).await?;
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
        let room = self.whole_room(&change.room_id).await?;
        if room.view().state.membership(change.target.as_str()) != Some(MembershipKind::Ban) {
            return Err(MembershipError::NotBanned);
        }
        self.set(&room, &change, "leave", None).await
    }

    /// `sender` ends the membership of `target`, whatever it is: kicks or unbans.
    pub async fn remove(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.whole_room(&change.room_id).await?;
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

    /// The room once all of its state is here.
    async fn whole_room(&self, room_id: &RoomId) -> Result<Arc<Room>, MembershipError> {
        let room = self.room(room_id).await?;
        self.rooms.full_state(&room).await?;
        Ok(room)
    }

    /// The room, unless this server is not in it and others are.
    async fn room_here(&self, room_id: &RoomId) -> Result<Option<Arc<Room>>, MembershipError> {
        Ok(self.rooms.get(room_id).await?.filter(|room| !is_elsewhere(room)))
    }

    /// The servers to turn to for a room this one is not in: who invited, whom the client named, whom the room's id names.
    async fn ways_in(&self, change: &MembershipChange) -> Result<Vec<ServerName>, MembershipError> {
        let mut servers = Vec::new();
        if let Some(room) = self.rooms.get(&change.room_id).await? {
            let view = room.view();
            if let Some(entry) = view.state.get("m.room.member", change.target.as_str()) {
                let event = room.state_event(entry).await?;
                servers.extend(ServerName::try_from(event.pdu.sender().server_name()).ok());
            }
            servers.extend(change.via.iter().cloned());
            servers.extend(view.servers.names().filter_map(|name| ServerName::try_from(name).ok()));
        } else {
            servers.extend(change.via.iter().cloned());
        }
        servers.extend(change.room_id.server_name().and_then(|name| ServerName::try_from(name).ok()));
        let mut seen = std::collections::HashSet::new();
        servers.retain(|server| server != self.rooms.server_name() && seen.insert(server.clone()));
        Ok(servers)
    }

    fn remote(&self, servers: &[ServerName]) -> Result<Remote, MembershipError> {
        match &self.receiver {
            Some(receiver) if !servers.is_empty() => {
                Ok(Remote { rooms: Arc::clone(&self.rooms), receiver: Arc::clone(receiver) })
            }
            _ => Err(MembershipError::NoServer),
        }
    }

    /// Invites a user of another server, which has to sign the invite first (server-server API, "Inviting to a room").
    async fn invite_elsewhere(&self, room: &Arc<Room>, change: &MembershipChange) -> Result<Sent, MembershipError> {
        let Some(receiver) = &self.receiver else { return Err(MembershipError::RemoteUser) };
        let Ok(server) = ServerName::try_from(change.target.server_name()) else {
            return Err(MembershipError::RemoteUser);
        };
        let create = room.view().event_in_memory("m.room.create", "").cloned();
        if create.is_some_and(|create| create.content().get_bool("m.federate") == Some(false)) {
            return Err(SendError::Forbidden(AuthRejection::NotFederated).into());
        }
        let draft = self.draft(change, "invite", None).await?;
        let head = self.rooms.lock_head(room).await?;
        let built = self.rooms.build(Some(&room.id), room.version, &head, &draft).await?;
        // The other server is not waited for with the room's head in hand: other events may come first.
        drop(head);
        let invite = match built {
            Built::Event(pending, _) => pending.pdu,
            Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
        };
        let described = serve::describing(&self.rooms, room, Some(&change.sender)).await?;
        let described = described.into_iter().filter_map(|event| RawValue::from_string(event).ok()).collect();
        let signed = receiver.peers.invite(&server, &invite, described).await?;
        let signed = receiver.open(room, vec![signed]).await;
        let signed: Vec<Pdu> = signed.into_iter().filter(|pdu| pdu.event_id() == invite.event_id()).collect();
        let Some(signed) = signed.first() else { return Err(MembershipError::RemoteUser) };
        let event_id = signed.event_id().clone();
        let signed = &self.rooms.recommended_here(room, signed.clone()).await?;
        match self.rooms.place_own(room, signed, None).await? {
            Accepted::Timeline(position) => Ok(Sent { event_id, position: Some(position) }),
            Accepted::Known => Ok(Sent { event_id, position: None }),
            // The inviter has lost the right to it meanwhile.
            Accepted::SoftFailed | Accepted::Rejected => Err(SendError::Contended.into()),
        }
    }

    /// Sends the member event; `shown`: whose name and avatar it carries.
    async fn set(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
    ) -> Result<Sent, MembershipError> {
        let draft = self.draft(change, membership, shown).await?;
        Ok(self.rooms.append(room, &draft).await?)
    }

    async fn draft(
        &self,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
    ) -> Result<Draft, DbError> {
        let mut content = profile::member_content(&self.rooms, membership, shown).await?;
        for (key, value) in change.content.iter() {
            if key != "membership" {
                content.insert(key, value.clone());
            }
        }
        if let Some(reason) = &change.reason {
            content.insert("reason", Value::from(reason.as_str()));
        }
        Ok(Draft::state(&change.sender, "m.room.member", change.target.as_str(), content))
    }
}

/// Whether others are in a room and this server is not: what it knows of the room is old, or came with an invite.
fn is_elsewhere(room: &Room) -> bool {
    let view = room.view();
    view.local_joined.is_empty() && (view.tip.extremities.is_empty() || !view.servers.is_empty())
}
