//! Joining, inviting, leaving, knocking, kicking, banning, forgetting.

mod content;
mod remote;
mod remote_joins;
pub(crate) mod restricted;
mod template;
mod third_party;

use std::sync::Arc;

use plexus_protocol::auth::AuthRejection;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_store::repo::memberships::RoomMembership;
use plexus_store::{DbError, repo};
use serde_json::value::RawValue;

use crate::actions::limits::{Authority, Counted, LimitError};
use crate::actions::profile;
use crate::actions::upgrade::successor;
use crate::fill;
use crate::model::registry::Rooms;
use crate::model::room::Room;
use crate::peers::PeerError;
use crate::receive::{Accepted, PduReceiver, ReceiveError};
use crate::serve;
use crate::state_filler;
use crate::write::build::{Built, Draft, Sent};
use crate::write::error::SendError;

use remote::Remote;
use remote_joins::{RemoteJoins, TakenBack};

pub(crate) use content::checked_content;
pub use third_party::Redemption;

/// How many servers that have all of a room's state are asked to let a user in, who waits meanwhile.
const SERVERS_WITH_ALL_STATE: usize = 3;
/// The HTTP status by which such a server does not let the user in.
const FORBIDDEN: u16 = 403;

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
    /// More for the member event's content. What only this server may say there is left out of it.
    pub content: Object,
    /// For joins and knocks: servers that may be in the room, to be asked in this order if this one is not.
    pub via: Vec<ServerName>,
    /// Which limits apply.
    pub authority: Authority,
}

/// Why a membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The user has to be in the room for that.
    #[error("The user is not in the room")]
    TargetNotInRoom,
    /// The user has to be banned for that.
    #[error("The user is not banned")]
    NotBanned,
    /// The user is banned; unban first.
    #[error("The user is banned; unban them first")]
    Banned,
    /// The room lets in members of other rooms, and the user is in none of them.
    #[error("You do not belong to any of the rooms whose members may join this room")]
    NotInAllowedRoom,
    /// Nobody on this server has the power to let the user in.
    #[error("No user of this server can let you into the room")]
    UnableToGrantJoin,
    /// The room has no place for guests.
    #[error("Guests are not allowed in this room")]
    GuestsForbidden,
    /// Users of other servers cannot be invited by a server that does not federate.
    #[error("Users of other servers cannot be invited: this server does not federate")]
    RemoteUser,
    /// Nobody is known who is in the room.
    #[error("No server is known that is in the room")]
    NoServer,
    /// The other server told no usable state of the room.
    #[error("The other server did not send a usable state of the room")]
    BadState,
    /// Another server was needed and did not do its part.
    #[error(transparent)]
    Remote(#[from] PeerError),
    /// The event was not taken in.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A room the user is in cannot be forgotten.
    #[error("You are still in the room; leave it first")]
    StillInRoom,
    /// Nobody in the room has invited the owner of that address.
    #[error("Nobody has invited the owner of that address")]
    NotInvited,
    /// This server does not let anybody do that now.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The identity server's key has been withdrawn, or cannot be asked about.
    #[error("The identity server has withdrawn its key, or could not be asked about it")]
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
    joins: Arc<RemoteJoins>,
}

impl MembershipChanger {
    /// A changer of memberships in these rooms.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, invite_profiles: bool) -> Self {
        Self { rooms, invite_profiles, receiver: None, joins: Arc::default() }
    }

    /// The same, which turns to other servers for rooms this one is not in.
    #[must_use]
    pub fn federating(self, receiver: Arc<PduReceiver>) -> Self {
        Self { receiver: Some(receiver), ..self }
    }

    /// `target` joins; it is also the sender. `guest`: the user is a guest.
    pub async fn join(&self, change: MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        let room = self.room_here(&change.room_id).await?;
        if room.as_ref().is_some_and(|room| membership_in(room, &change.target) == Some(Membership::Join)) {
            // A change of the name or avatar in the room.
            return self.enter(room, &change, guest).await;
        }
        let limits = &self.rooms.limits;
        let counted = limits.join(change.authority, &change.target, &change.room_id, room.is_none())?;
        let joined = self.enter(room, &change, guest).await?;
        counted.succeeded();
        Ok(joined)
    }

    async fn enter(
        &self,
        room: Option<Arc<Room>>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        let Some(room) = room else {
            return self.enter_elsewhere(change, guest).await;
        };
        if let Some(joined) = self.join_with_part_of_state(&room, change, guest).await {
            return joined;
        }
        match self.join_here(&room, change, guest).await {
            Err(MembershipError::UnableToGrantJoin) => self.join_by_others(&room, change, guest).await,
            other => other,
        }
    }

    /// Joins a room that this server is not in. Whether a guest may be in it is not known before, so that guests only
    /// go where they are invited; one who may not be there leaves again ([`crate::GuestRemoval`]).
    async fn enter_elsewhere(&self, change: &MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        if guest {
            let room = self.rooms.get(&change.room_id).await?;
            let membership = room.and_then(|room| membership_in(&room, &change.target));
            if membership != Some(Membership::Invite) {
                return Err(MembershipError::GuestsForbidden);
            }
        }
        let servers = self.ways_in(change).await?;
        let sent = self.remote(&servers, None)?.join(change, &servers, decided_for(guest)).await?;
        let room = if guest { self.rooms.get(&change.room_id).await? } else { None };
        if room.is_some_and(|room| !room.view().guests_can_join) {
            Err(MembershipError::GuestsForbidden)
        } else {
            Ok(sent)
        }
    }

    async fn join_here(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        if membership_in(room, &change.target) != Some(Membership::Join) {
            self.rooms.full_state(room).await?;
        }
        let is_joined = membership_in(room, &change.target) == Some(Membership::Join);
        if guest && !is_joined && !room.view().guests_can_join {
            return Err(MembershipError::GuestsForbidden);
        }
        let mut decided = decided_for(guest);
        if let Some(authoriser) = restricted::authoriser(&self.rooms, room, &change.target).await? {
            decided.insert("join_authorised_via_users_server", authoriser.as_str());
        }
        let is_first = successor::is_first_join(room, &change.target);
        let sent = self.set(room, change, "join", Some(&change.target), &decided).await?;
        if guest && !room.view().guests_can_join {
            // Guest access ended while the guest joined.
            let leave = MembershipChange { content: Object::new(), reason: None, ..change.clone() };
            self.set(room, &leave, "leave", None, &Object::new()).await?;
            return Err(MembershipError::GuestsForbidden);
        }
        if is_first {
            successor::joined(&self.rooms, room, &change.target).await;
        }
        Ok(sent)
    }

    /// Where members are missing from the room's state, asks the servers that have all of it to let the user in. `None`
    /// when this server has to decide itself, once it can: nothing is missing, or none of the others does.
    async fn join_with_part_of_state(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Option<Result<Sent, MembershipError>> {
        let view = room.view();
        let partial = fill::unfinished(&view)?;
        if view.state.membership(change.target.as_str()) == Some(Membership::Join) {
            return None;
        }
        if guest && !view.guests_can_join {
            return Some(Err(MembershipError::GuestsForbidden));
        }
        let mut servers = state_filler::servers(&partial, &view, self.rooms.server_name());
        servers.truncate(SERVERS_WITH_ALL_STATE);
        let joined = self.remote(&servers, Some(room)).ok()?.join(change, &servers, decided_for(guest)).await;
        match &joined {
            Ok(_) => Some(joined),
            Err(MembershipError::Remote(error)) if error.status() == Some(FORBIDDEN) => Some(joined),
            Err(_) => None,
        }
    }

    /// Has another server let the user in, who belongs to one of the rooms whose members may join: no user of this
    /// server has the power to. Only servers that have such a user, by the room's state as this server knows it, are
    /// asked.
    async fn join_by_others(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        let servers = restricted::servers_with_authorisers(&room.view(), self.rooms.server_name());
        let Ok(remote) = self.remote(&servers, Some(room)) else { return Err(MembershipError::UnableToGrantJoin) };
        match remote.join(change, &servers, decided_for(guest)).await {
            Err(MembershipError::Remote(_)) => Err(MembershipError::UnableToGrantJoin),
            other => other,
        }
    }

    /// `sender` invites `target`.
    pub async fn invite(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        self.invite_with(&change, &Object::new()).await
    }

    async fn invite_with(&self, change: &MembershipChange, decided: &Object) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        self.rooms.full_state(&room).await?;
        if membership_in(&room, &change.target) == Some(Membership::Ban) {
            return Err(MembershipError::Banned);
        }
        let limits = &self.rooms.limits;
        let counted = limits.invite(change.authority, &change.sender, &change.target, &change.room_id)?;
        if change.target.server_name() != self.rooms.server_name().as_str() {
            return self.invite_elsewhere(&room, change, decided, counted).await;
        }
        let shown = self.invite_profiles.then_some(&change.target);
        let invited = self.set(&room, change, "invite", shown, decided).await?;
        counted.succeeded();
        Ok(invited)
    }

    /// `target` knocks; it is also the sender.
    pub async fn knock(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        self.rooms.limits.knock(change.authority, &change.target)?;
        match self.room_here(&change.room_id).await? {
            Some(room) => self.set(&room, &change, "knock", Some(&change.target), &Object::new()).await,
            None => {
                let servers = self.ways_in(&change).await?;
                self.remote(&servers, None)?.knock(&change, &servers).await
            }
        }
    }

    /// `target` leaves, rejects an invite or takes back a knock; it is also the sender.
    pub async fn leave(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.rooms.get(&change.room_id).await?;
        let membership = room.as_ref().and_then(|room| membership_in(room, &change.target));
        let waits = matches!(membership, Some(Membership::Invite | Membership::Knock));
        if room.is_none_or(|room| is_elsewhere(&room)) {
            match self.take_back_join(&change).await {
                Ok(Some(left)) => return Ok(left),
                Err(error) if !waits => return Err(error),
                // An invite can be declined without the other server.
                Ok(None) | Err(_) => {}
            }
        }
        let room = self.room(&change.room_id).await?;
        if waits && is_elsewhere(&room) && self.receiver.is_some() {
            let servers = self.ways_in(&change).await?;
            return self.remote(&servers, None)?.leave(&room, &change, &servers).await;
        }
        self.set(&room, &change, "leave", None, &Object::new()).await
    }

    /// Takes back a join that failed here and that another server may have accepted, if there is one.
    async fn take_back_join(&self, change: &MembershipChange) -> Result<Option<Sent>, MembershipError> {
        let Some(receiver) = &self.receiver else { return Ok(None) };
        let mut joins = self.joins.of(&change.room_id, &change.target).await;
        match self.by_others(receiver, None).take_back(change, &mut joins).await {
            TakenBack::Left(event_id) => Ok(Some(Sent { event_id, position: None })),
            TakenBack::Nothing => Ok(None),
            TakenBack::Unreachable(error) => Err(error),
        }
    }

    /// `sender` removes `target`.
    pub async fn kick(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.whole_room(&change.room_id).await?;
        match room.view().state.membership(change.target.as_str()) {
            Some(Membership::Join | Membership::Invite | Membership::Knock) => {
                self.set(&room, &change, "leave", None, &Object::new()).await
            }
            Some(Membership::Ban) => Err(MembershipError::Banned),
            Some(Membership::Leave) | None => Err(MembershipError::TargetNotInRoom),
        }
    }

    /// `sender` bans `target`.
    pub async fn ban(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room(&change.room_id).await?;
        self.set(&room, &change, "ban", None, &Object::new()).await
    }

    /// `sender` lifts the ban of `target`.
    pub async fn unban(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.whole_room(&change.room_id).await?;
        if room.view().state.membership(change.target.as_str()) != Some(Membership::Ban) {
            return Err(MembershipError::NotBanned);
        }
        self.set(&room, &change, "leave", None, &Object::new()).await
    }

    /// `sender` ends the membership of `target`, whatever it is: kicks or unbans.
    pub async fn remove(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.whole_room(&change.room_id).await?;
        if matches!(room.view().state.membership(change.target.as_str()), None | Some(Membership::Leave)) {
            return Err(MembershipError::TargetNotInRoom);
        }
        self.set(&room, &change, "leave", None, &Object::new()).await
    }

    /// The user's client no longer lists the room, which the user has left.
    pub async fn forget(&self, room_id: &RoomId, user: &UserId) -> Result<(), MembershipError> {
        // As in Synapse, there need not be anything to forget.
        let Some(room) = self.rooms.get(room_id).await? else { return Ok(()) };
        let known = self.rooms.memberships().of(user).await?.get(room.nid).copied();
        let Some(known) = known else { return Ok(()) };
        let (nid, key) = (room.nid, user.clone());
        let forgotten = self.rooms.db.write(move |tx| repo::memberships::forget(tx, &key, nid)).await?;
        if !forgotten {
            return Err(MembershipError::StillInRoom);
        }
        self.rooms.memberships().apply(user, RoomMembership { forgotten: true, ..known });
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
                let event = room.readable_state_event(entry).await?;
                servers.extend(event.and_then(|event| ServerName::try_from(event.pdu.sender().server_name()).ok()));
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

    /// `here`: the room, when this server is in it.
    fn remote(&self, servers: &[ServerName], here: Option<&Arc<Room>>) -> Result<Remote, MembershipError> {
        match &self.receiver {
            Some(receiver) if !servers.is_empty() => Ok(self.by_others(receiver, here)),
            _ => Err(MembershipError::NoServer),
        }
    }

    fn by_others(&self, receiver: &Arc<PduReceiver>, here: Option<&Arc<Room>>) -> Remote {
        let (rooms, receiver, joins) = (Arc::clone(&self.rooms), Arc::clone(receiver), Arc::clone(&self.joins));
        Remote { rooms, receiver, joins, here: here.map(Arc::clone) }
    }

    /// Invites a user of another server, which has to sign the invite first (server-server API, "Inviting to a room").
    async fn invite_elsewhere(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        decided: &Object,
        counted: Counted<'_>,
    ) -> Result<Sent, MembershipError> {
        let Some(receiver) = &self.receiver else { return Err(MembershipError::RemoteUser) };
        let Ok(server) = ServerName::try_from(change.target.server_name()) else {
            return Err(MembershipError::RemoteUser);
        };
        let create = room.view().event_in_memory("m.room.create", "").cloned();
        if create.is_some_and(|create| create.content().get_bool("m.federate") == Some(false)) {
            return Err(SendError::Forbidden(AuthRejection::NotFederated).into());
        }
        let mut invite = match self.build_invite(room, change, Object::new(), decided).await? {
            Built::Event(pending, _) => pending.pdu,
            Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
        };
        let described = serve::describing(&self.rooms, room, Some(&change.sender)).await?;
        let described = described.into_iter().filter_map(|event| RawValue::from_string(event).ok()).collect();
        // The room allows it. The other server is asked only as often as the limits say, whatever it answers.
        counted.succeeded();
        let profile = if self.invite_profiles {
            profile::elsewhere(&*receiver.peers, &server, &change.target).await
        } else {
            Object::new()
        };
        if !profile.is_empty() {
            invite = match self.build_invite(room, change, profile, decided).await? {
                Built::Event(pending, _) => pending.pdu,
                Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
            };
        }
        let signed = receiver.peers.invite(&server, &invite, described).await?;
        let copy = Pdu::parse_remote(signed.get(), room.version).map_err(ReceiveError::from)?;
        // Of what came back only the signature is of interest: no server would take the invite without it.
        let signed = receiver.with_valid_signatures(&invite, &copy, server.as_str()).await;
        let signed = signed.ok_or(MembershipError::RemoteUser)?;
        let event_id = signed.event_id().clone();
        let signed = &self.rooms.recommended_here(room, signed).await?;
        match self.rooms.place_own(room, signed, None).await? {
            Accepted::Timeline(position) => Ok(Sent { event_id, position: Some(position) }),
            Accepted::Known => Ok(Sent { event_id, position: None }),
            // The inviter has lost the right to it meanwhile.
            Accepted::SoftFailed | Accepted::Rejected => Err(SendError::Contended.into()),
        }
    }

    /// An invite that the room allows; `profile`: what it shows of the invited.
    async fn build_invite(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        mut profile: Object,
        decided: &Object,
    ) -> Result<Built, MembershipError> {
        profile.insert("membership", "invite");
        let content = content::of_change(change, profile, decided)?;
        let draft = Draft::state(&change.sender, "m.room.member", change.target.as_str(), content);
        // Not held any longer: the other server has to be waited for, and other events may come first.
        let head = self.rooms.lock_head(room).await?;
        Ok(self.rooms.build(Some(&room.id), room.version, &head, &draft).await?)
    }

    /// Sends the member event. `shown`: whose name and avatar it carries; `decided`: what else this server says in it.
    async fn set(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
        decided: &Object,
    ) -> Result<Sent, MembershipError> {
        let draft = self.draft(change, membership, shown, decided).await?;
        Ok(self.rooms.append(room, &draft).await?)
    }

    async fn draft(
        &self,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
        decided: &Object,
    ) -> Result<Draft, MembershipError> {
        let profile = profile::member_content(&self.rooms, membership, shown).await?;
        let content = content::of_change(change, profile, decided)?;
        Ok(Draft::state(&change.sender, "m.room.member", change.target.as_str(), content))
    }
}

/// What this server says in the join of a guest (Synapse's mark, which clients and bridges look for).
fn decided_for(guest: bool) -> Object {
    if guest { Object::from([("kind", "guest")]) } else { Object::new() }
}

fn membership_in(room: &Room, user: &UserId) -> Option<Membership> {
    room.view().state.membership(user.as_str())
}

fn is_elsewhere(room: &Room) -> bool {
    room.view().is_out_of_band()
}
