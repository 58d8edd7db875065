//! Changes memberships: joins, invites, leaves, knocks, kicks, bans, and forgetting rooms
//! (<https://spec.matrix.org/v1.19/client-server-api/#room-membership>).

pub mod complexity;
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
use crate::model::timeline_event::Transaction;
use crate::write::append::{self, Sent};
use crate::write::build::{self, Built};
use crate::write::draft::Draft;
use crate::write::error::SendError;
use crate::write::graph::{self, AddOutcome};
use crate::write::writer::RoomWriter;
use crate::write::{head_lock, policy, policy_hooks, transactions};

pub use complexity::{ComplexityTasks, RemoteRoomLimit};
pub use error::MembershipError;
pub use remote::{RemoteMemberships, Via};
pub use third_party::ThirdPartyInviteClaim;

/// A requested change of membership.
#[derive(Clone, Debug)]
pub struct MembershipChange {
    /// The room.
    pub room_id: RoomId,
    /// The user who makes the change, a local user.
    pub sender: UserId,
    /// The user whose membership changes.
    pub target: UserId,
    /// The reason, for the event's content.
    pub reason: Option<String>,
    /// Further content of the member event. Fields that only this server sets are ignored.
    pub content: Object,
    /// For joins and knocks: servers to go through, in this order, if this server is not in the room.
    pub via: Vec<ServerName>,
    /// The client's transaction.
    pub transaction: Option<Transaction>,
    /// The time of the member event in Unix ms, where an application service chooses it; otherwise it is now.
    pub origin_server_ts: Option<u64>,
    /// The authority, which decides which limits apply.
    pub authority: Authority,
}

impl MembershipChange {
    /// Returns the content of the member event: `profile` (the membership, and the name and avatar that are shown), the
    /// fields that the client adds, and `server_fields`, the fields that this server sets.
    ///
    /// # Errors
    /// When the client's name or avatar is not a string, or too long.
    pub fn member_content(&self, profile: Object, server_fields: &Object) -> Result<Object, SendError> {
        let mut content = checked_content(profile, &self.content, self.sender == self.target)?;
        if let Some(reason) = &self.reason {
            content.insert("reason", reason.as_str());
        }
        for (key, value) in server_fields.iter() {
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
    /// `None` if this server does not federate.
    remote: Option<Arc<dyn RemoteMemberships>>,
    remote_room_limit: Option<RemoteRoomLimit>,
}

impl MembershipChanger {
    /// Creates the service. `invite_profiles`: whether invites contain the invited user's profile.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>, invite_profiles: bool) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer, invite_profiles, remote: None, remote_room_limit: None }
    }

    /// Makes the service go through other servers for rooms that this one is not in.
    #[must_use]
    pub fn federating(self, remote: Arc<dyn RemoteMemberships>) -> Self {
        Self { remote: Some(remote), ..self }
    }

    /// Makes the service refuse to join rooms of other servers that are too complex.
    #[must_use]
    pub fn limiting_remote_rooms(self, limit: Option<RemoteRoomLimit>) -> Self {
        Self { remote_room_limit: limit, ..self }
    }

    /// `sender` invites `target`.
    ///
    /// # Errors
    /// See [`MembershipError`]; the same for the other methods.
    pub async fn invite(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        self.invite_with(&change, &Object::new()).await
    }

    async fn invite_with(&self, change: &MembershipChange, server_fields: &Object) -> Result<Sent, MembershipError> {
        let rules = &self.writer.sender_rules;
        rules.check_invites([&change.target])?;
        let room = self.room(&change.room_id).await?;
        self.require_open(&change.room_id).await?;
        self.rooms.full_state(&room).await?;
        if membership_in(&room, &change.target) == Some(Membership::Ban) {
            return Err(MembershipError::Banned);
        }
        let MembershipChange { authority, sender, target, .. } = change;
        self.writer.invite_permissions.check(*authority, sender, [target]).await??;
        if let Some(hooks) = self.writer.policy_hooks.as_ref().filter(|_| authority.is_subject_to_invite_policy()) {
            hooks.user_may_invite(sender, target.as_str(), &change.room_id).await.map_err(SendError::from)?;
        }
        let limits = &self.writer.limits;
        let counted = limits.invite(change.authority, &change.sender, &change.target, &change.room_id)?;
        if change.target.server_name() != self.rooms.server_name().as_str() {
            return self.invite_remote_user(&room, change, server_fields, counted).await;
        }
        let shown = self.invite_profiles.then_some(&change.target);
        let invited = self.set(&room, change, "invite", shown, server_fields).await?;
        counted.succeeded();
        Ok(invited)
    }

    /// `target`, who is also the sender, knocks.
    pub async fn knock(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        self.writer.limits.knock(change.authority, &change.target)?;
        self.require_open(&change.room_id).await?;
        match self.resident_room(&change.room_id).await? {
            Some(room) => self.set(&room, &change, "knock", Some(&change.target), &Object::new()).await,
            None => {
                let servers = self.candidate_servers(&change).await?;
                self.remote(&servers)?.knock(&change, &servers).await
            }
        }
    }

    /// `target`, who is also the sender, leaves, rejects an invite or withdraws a knock.
    pub async fn leave(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.rooms.get(&change.room_id).await?;
        let membership = room.as_ref().and_then(|room| membership_in(room, &change.target));
        if let Some(room) = &room {
            self.require_no_notices_invite(room, &change)?;
        }
        let waits = matches!(membership, Some(Membership::Invite | Membership::Knock));
        if room.is_none_or(|room| is_out_of_band(&room)) {
            let withdrawn = match &self.remote {
                Some(remote) => remote.withdraw_join(&change).await,
                None => Ok(None),
            };
            match withdrawn {
                Ok(Some(left)) => return Ok(left),
                Err(error) if !waits => return Err(error),
                // An invite can be rejected without the other server.
                Ok(None) | Err(_) => {}
            }
        }
        let room = self.room(&change.room_id).await?;
        if waits && is_out_of_band(&room) && self.remote.is_some() {
            let servers = self.candidate_servers(&change).await?;
            return self.remote(&servers)?.leave(&room, &change, &servers).await;
        }
        self.set(&room, &change, "leave", None, &Object::new()).await
    }

    /// Requires that this is not the rejection of an invite to a room of server notices.
    fn require_no_notices_invite(&self, room: &Room, change: &MembershipChange) -> Result<(), MembershipError> {
        let is_rejection =
            change.sender == change.target && membership_in(room, &change.target) == Some(Membership::Invite);
        if is_rejection && change.authority != Authority::Server && self.writer.sender_rules.is_notices_room(room) {
            return Err(MembershipError::NoticesInvite);
        }
        Ok(())
    }

    /// `sender` removes `target`.
    pub async fn kick(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room_with_full_state(&change.room_id).await?;
        self.require_no_notices_invite(&room, &change)?;
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
        let room = self.room_with_full_state(&change.room_id).await?;
        if room.view().state.membership(change.target.as_str()) != Some(Membership::Ban) {
            return Err(MembershipError::NotBanned);
        }
        self.set(&room, &change, "leave", None, &Object::new()).await
    }

    /// `sender` ends the membership of `target`, whatever it is: kicks or unbans.
    pub async fn remove(&self, change: MembershipChange) -> Result<Sent, MembershipError> {
        let room = self.room_with_full_state(&change.room_id).await?;
        self.require_no_notices_invite(&room, &change)?;
        if matches!(room.view().state.membership(change.target.as_str()), None | Some(Membership::Leave)) {
            return Err(MembershipError::TargetNotInRoom);
        }
        self.set(&room, &change, "leave", None, &Object::new()).await
    }

    /// Marks a room that the user has left as forgotten.
    pub async fn forget(&self, room_id: &RoomId, user: &UserId) -> Result<(), MembershipError> {
        // As in Synapse, forgetting an unknown room succeeds.
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

    /// Checks that this server lets its users enter the room.
    async fn require_open(&self, room_id: &RoomId) -> Result<(), MembershipError> {
        self.rooms.entry_refusal(room_id).await?.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    async fn room(&self, room_id: &RoomId) -> Result<Arc<Room>, MembershipError> {
        Ok(self.rooms.get(room_id).await?.ok_or(SendError::UnknownRoom)?)
    }

    /// Returns the room, once its state is complete.
    async fn room_with_full_state(&self, room_id: &RoomId) -> Result<Arc<Room>, MembershipError> {
        let room = self.room(room_id).await?;
        self.rooms.full_state(&room).await?;
        Ok(room)
    }

    /// Returns the room; `None` if this server is not in it.
    async fn resident_room(&self, room_id: &RoomId) -> Result<Option<Arc<Room>>, MembershipError> {
        Ok(self.rooms.get(room_id).await?.filter(|room| !is_out_of_band(room)))
    }

    /// Returns the servers to go through for a room that this one is not in: the server of the inviter, those that the
    /// client named, those in the room, and the server in the room's id.
    async fn candidate_servers(&self, change: &MembershipChange) -> Result<Vec<ServerName>, MembershipError> {
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

    /// Invites a user of another server, which has to sign the invite first
    /// (<https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>).
    async fn invite_remote_user(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        server_fields: &Object,
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
        let mut invite = match self.build_invite(room, change, Object::new(), server_fields).await? {
            Built::Event(pending, _) => pending.judged.pdu,
            Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
        };
        if let Some(hooks) = &self.writer.policy_hooks {
            policy_hooks::allowed(hooks, room, &invite).await?;
        }
        // The room allows it. The invite counts whatever the other server responds, so that it is not asked more often.
        counted.succeeded();
        let profile = if self.invite_profiles { remote.profile(&server, &change.target).await } else { Object::new() };
        if !profile.is_empty() {
            invite = match self.build_invite(room, change, profile, server_fields).await? {
                Built::Event(pending, _) => pending.judged.pdu,
                Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
            };
        }
        let signed = remote.sign_invite(room, &server, &invite).await?;
        let event_id = signed.event_id().clone();
        let signed = &policy::recommended_here(&self.writer, room, signed).await?;
        match graph::add_local(&self.writer, room, signed, None, true).await? {
            AddOutcome::InTimeline(position) => Ok(Sent { event_id, position: Some(position) }),
            AddOutcome::AlreadyAdded => Ok(Sent { event_id, position: None }),
            // The inviter may not invite any more.
            AddOutcome::SoftFailed | AddOutcome::Rejected => Err(SendError::Contended.into()),
        }
    }

    /// Builds an invite that the room allows. `profile` is the profile of the invited user.
    async fn build_invite(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        mut profile: Object,
        server_fields: &Object,
    ) -> Result<Built, MembershipError> {
        profile.insert("membership", "invite");
        let content = change.member_content(profile, server_fields)?;
        let draft = Draft::state(&change.sender, "m.room.member", change.target.as_str(), content);
        let draft = Draft { origin_server_ts: change.origin_server_ts, ..draft };
        // Not held while the other server is asked: other events may be sent first.
        let head = head_lock::lock_head(&self.writer, room).await?;
        Ok(build::build(&self.writer, Some(&room.id), room.version, &head, &draft).await?)
    }

    /// Sends the member event, with the name and avatar of `shown`, and with `server_fields`.
    async fn set(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
        server_fields: &Object,
    ) -> Result<Sent, MembershipError> {
        let draft = self.draft(change, membership, shown, server_fields).await?;
        Ok(append::append(&self.writer, room, &draft).await?)
    }

    async fn draft(
        &self,
        change: &MembershipChange,
        membership: &str,
        shown: Option<&UserId>,
        server_fields: &Object,
    ) -> Result<Draft, MembershipError> {
        let profile = profile::member_content(&self.rooms, membership, shown).await?;
        let content = change.member_content(profile, server_fields)?;
        let transaction = change.transaction.clone().map(|it| {
            let key = transactions::key(&change.sender, &change.room_id, &it);
            (key, it)
        });
        let draft = Draft::state(&change.sender, "m.room.member", change.target.as_str(), content);
        Ok(Draft { transaction, origin_server_ts: change.origin_server_ts, ..draft })
    }
}

fn membership_in(room: &Room, user: &UserId) -> Option<Membership> {
    room.view().state.membership(user.as_str())
}

fn is_out_of_band(room: &Room) -> bool {
    room.view().is_out_of_band()
}
