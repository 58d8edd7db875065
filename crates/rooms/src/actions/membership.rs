//! Joining, inviting, leaving, knocking, kicking, banning, forgetting.

mod error;
mod join;
mod remote;
pub mod restricted;
mod third_party;

use std::sync::Arc;

use plexus_protocol::auth::AuthRejection;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_store::repo;

use crate::actions::member_content::checked_content;
use crate::actions::profile;
use crate::model::limits::{Authority, Counted};
use crate::model::room::Room;
use crate::model::rooms::Rooms;
use crate::write::append::{self, Sent};
use crate::write::build::{self, Built};
use crate::write::draft::Draft;
use crate::write::error::SendError;
use crate::write::graph::{self, AddOutcome};
use crate::write::writer::RoomWriter;
use crate::write::{head_lock, policy};

pub use error::MembershipError;
pub use remote::{RemoteMemberships, Via};
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
    /// More for the member event's content. What only this server may say there is left out of it.
    pub content: Object,
    /// For joins and knocks: servers that may be in the room, to be asked in this order if this one is not.
    pub via: Vec<ServerName>,
    /// Which limits apply.
    pub authority: Authority,
}

impl MembershipChange {
    /// Returns the content of the member event: `profile` (the membership, and the name and avatar that are shown), the
    /// fields that the client adds, and `decided`, the fields that this server sets.
    ///
    /// # Errors
    /// When the client's name or avatar is not a string, or too long.
    pub fn member_content(&self, profile: Object, decided: &Object) -> Result<Object, SendError> {
        let mut content = checked_content(profile, &self.content, self.sender == self.target)?;
        if let Some(reason) = &self.reason {
            content.insert("reason", reason.as_str());
        }
        for (key, value) in decided.iter() {
            content.insert(key, value.clone());
        }
        Ok(content)
    }
}

/// Changes memberships of and by local users.
pub struct MembershipChanger {
    rooms: Arc<Rooms>,
    writer: Arc<RoomWriter>,
    /// Whether invites carry the invited user's profile.
    invite_profiles: bool,
    /// `None` where this server does not federate.
    remote: Option<Arc<dyn RemoteMemberships>>,
}

impl MembershipChanger {
    /// A changer of memberships in these rooms.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>, invite_profiles: bool) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer, invite_profiles, remote: None }
    }

    /// The same, which turns to other servers for rooms this one is not in.
    #[must_use]
    pub fn federating(self, remote: Arc<dyn RemoteMemberships>) -> Self {
        Self { remote: Some(remote), ..self }
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
        let limits = &self.writer.limits;
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
        self.writer.limits.knock(change.authority, &change.target)?;
        match self.room_here(&change.room_id).await? {
            Some(room) => self.set(&room, &change, "knock", Some(&change.target), &Object::new()).await,
            None => {
                let servers = self.ways_in(&change).await?;
                self.remote(&servers)?.knock(&change, &servers).await
            }
        }
    }

    /// `target` leaves, rejects an invite or takes back a knock; it is also the sender.
    pub async fn leave(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.rooms.get(&change.room_id).await?;
        let membership = room.as_ref().and_then(|room| membership_in(room, &change.target));
        let waits = matches!(membership, Some(Membership::Invite | Membership::Knock));
        if room.is_none_or(|room| is_elsewhere(&room)) {
            let withdrawn = match &self.remote {
                Some(remote) => remote.withdraw_join(&change).await,
                None => Ok(None),
            };
            match withdrawn {
                Ok(Some(left)) => return Ok(left),
                Err(error) if !waits => return Err(error),
                // An invite can be declined without the other server.
                Ok(None) | Err(_) => {}
            }
        }
        let room = self.room(&change.room_id).await?;
        if waits && is_elsewhere(&room) && self.remote.is_some() {
            let servers = self.ways_in(&change).await?;
            return self.remote(&servers)?.leave(&room, &change, &servers).await;
        }
        self.set(&room, &change, "leave", None, &Object::new()).await
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
        if self.rooms.memberships().of(user).await?.get(room.nid).is_none() {
            return Ok(());
        }
        let (nid, key) = (room.nid, user.clone());
        let forgotten = self.rooms.db.write(move |tx| repo::memberships::forget(tx, &key, nid)).await?;
        if !forgotten {
            return Err(MembershipError::StillInRoom);
        }
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

    fn remote(&self, servers: &[ServerName]) -> Result<&dyn RemoteMemberships, MembershipError> {
        self.remote.as_deref().filter(|_| !servers.is_empty()).ok_or(MembershipError::NoServer)
    }

    /// Invites a user of another server, which has to sign the invite first (server-server API, "Inviting to a room").
    async fn invite_elsewhere(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        decided: &Object,
        counted: Counted<'_>,
    ) -> Result<Sent, MembershipError> {
        let Some(remote) = &self.remote else { return Err(MembershipError::RemoteUser) };
        let Ok(server) = ServerName::try_from(change.target.server_name()) else {
            return Err(MembershipError::RemoteUser);
        };
        let create = room.view().event_in_memory("m.room.create", "").cloned();
        if create.is_some_and(|create| create.content().get_bool("m.federate") == Some(false)) {
            return Err(SendError::Forbidden(AuthRejection::NotFederated).into());
        }
        let mut invite = match self.build_invite(room, change, Object::new(), decided).await? {
            Built::Event(pending, _) => pending.judged.pdu,
            Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
        };
        // The room allows it. The other server is asked only as often as the limits say, whatever it answers.
        counted.succeeded();
        let profile = if self.invite_profiles { remote.profile(&server, &change.target).await } else { Object::new() };
        if !profile.is_empty() {
            invite = match self.build_invite(room, change, profile, decided).await? {
                Built::Event(pending, _) => pending.judged.pdu,
                Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
            };
        }
        let signed = remote.sign_invite(room, &server, &invite).await?;
        let event_id = signed.event_id().clone();
        let signed = &policy::recommended_here(&self.writer, room, signed).await?;
        match graph::add_local(&self.writer, room, signed, None).await? {
            AddOutcome::InTimeline(position) => Ok(Sent { event_id, position: Some(position) }),
            AddOutcome::AlreadyAdded => Ok(Sent { event_id, position: None }),
            // The inviter has lost the right to it meanwhile.
            AddOutcome::SoftFailed | AddOutcome::Rejected => Err(SendError::Contended.into()),
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
        let content = change.member_content(profile, decided)?;
        let draft = Draft::state(&change.sender, "m.room.member", change.target.as_str(), content);
        // Not held any longer: the other server has to be waited for, and other events may come first.
        let head = head_lock::lock_head(&self.writer, room).await?;
        Ok(build::build(&self.writer, Some(&room.id), room.version, &head, &draft).await?)
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
        Ok(append::append(&self.writer, room, &draft).await?)
    }

    async fn draft(
        &self,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
        decided: &Object,
    ) -> Result<Draft, MembershipError> {
        let profile = profile::member_content(&self.rooms, membership, shown).await?;
        let content = change.member_content(profile, decided)?;
        Ok(Draft::state(&change.sender, "m.room.member", change.target.as_str(), content))
    }
}

fn membership_in(room: &Room, user: &UserId) -> Option<Membership> {
    room.view().state.membership(user.as_str())
}

fn is_elsewhere(room: &Room) -> bool {
    room.view().is_out_of_band()
}
