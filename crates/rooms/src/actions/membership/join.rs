//! Joins a room.

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;

use super::complexity::{RemoteRoomLimit, complexity};
use super::remote::Via;
use super::{MembershipChange, MembershipChanger, MembershipError, membership_in, restricted};
use crate::actions::upgrade::successor;
use crate::model::limits::Authority;
use crate::model::partial_state::{incomplete_join, servers_with_state};
use crate::model::room::Room;
use crate::write::append::Sent;
use crate::write::error::SendError;

/// The maximum number of servers with the complete state of a room that are tried for a join, while the user waits.
const MAX_SERVERS_WITH_STATE: usize = 3;
/// The HTTP status with which such a server refuses the join.
const FORBIDDEN: u16 = 403;
/// How long a judgement of a room's complexity waits for the rest of its state.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);

impl MembershipChanger {
    /// `target`, who is also the sender, joins. `guest`: whether the user is a guest.
    pub async fn join(&self, change: MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        let room = self.resident_room(&change.room_id).await?;
        if room.as_ref().is_some_and(|room| membership_in(room, &change.target) == Some(Membership::Join)) {
            // Changes the name or avatar in the room.
            return self.enter(room, &change, guest).await;
        }
        self.require_open(&change.room_id).await?;
        self.require_permitted(&change).await?;
        let limits = &self.writer.limits;
        let counted = limits.join(change.authority, &change.target, &change.room_id, room.is_none())?;
        let joined = self.enter(room, &change, guest).await?;
        counted.succeeded();
        Ok(joined)
    }

    /// Asks the policy hooks whether a user may join. Administrators always may.
    async fn require_permitted(&self, change: &MembershipChange) -> Result<(), MembershipError> {
        let Some(hooks) = self.writer.policy_hooks.as_ref().filter(|_| !change.authority.is_administrator()) else {
            return Ok(());
        };
        let room = self.rooms.get(&change.room_id).await?;
        let is_invited = room.is_some_and(|room| membership_in(&room, &change.target) == Some(Membership::Invite));
        Ok(hooks.user_may_join_room(&change.target, &change.room_id, is_invited).await.map_err(SendError::from)?)
    }

    async fn enter(
        &self,
        room: Option<Arc<Room>>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        let Some(room) = room else {
            return self.join_remotely(change, guest).await;
        };
        if let Some(joined) = self.join_with_part_of_state(&room, change, guest).await {
            return joined;
        }
        match self.join_locally(&room, change, guest).await {
            Err(MembershipError::UnableToGrantJoin) => self.join_through_authorisers(&room, change, guest).await,
            other => other,
        }
    }

    /// Joins a room that this server is not in. It is not known before whether the room allows guests, so that guests
    /// need an invite; if the room does not allow them, they leave again ([`crate::GuestRemoval`]).
    async fn join_remotely(&self, change: &MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        if guest {
            let room = self.rooms.get(&change.room_id).await?;
            let membership = room.and_then(|room| membership_in(&room, &change.target));
            if membership != Some(Membership::Invite) {
                return Err(MembershipError::GuestsForbidden);
            }
        }
        let servers = self.candidate_servers(change).await?;
        let remote = self.remote(&servers)?;
        let limit = self.remote_room_limit.as_ref().filter(|limit| limit.applies_to(change.authority));
        if let Some(limit) = limit {
            limit.check_at_servers(remote, &servers, &change.room_id).await?;
        }
        let sent = remote.join(change, Via { servers: &servers, room: None }, server_fields_of(guest)).await?;
        if let Some(limit) = limit {
            self.judge_complexity(limit, change).await?;
        }
        let room = if guest { self.rooms.get(&change.room_id).await? } else { None };
        if room.is_some_and(|room| !room.view().guests_can_join) {
            Err(MembershipError::GuestsForbidden)
        } else {
            Ok(sent)
        }
    }

    /// Checks the complexity of a room that a user has joined through another server, whatever that said: the user
    /// leaves a room that is too complex. One whose state is not complete is judged again later.
    pub(super) async fn judge_complexity(
        &self,
        limit: &RemoteRoomLimit,
        change: &MembershipChange,
    ) -> Result<(), MembershipError> {
        let Some(room) = self.rooms.get(&change.room_id).await? else { return Ok(()) };
        let view = room.view();
        let judged = limit.check(complexity(&view));
        let mut is_done = incomplete_join(&view).is_none();
        if judged.is_err() {
            let left = self.leave_complex_room(&room, &change.target).await;
            is_done =
                left.inspect_err(|error| tracing::warn!(room = %room.id, "the user cannot leave: {error}")).is_ok();
        }
        if !is_done {
            limit.tasks.schedule(&change.room_id, &change.target).await?;
        }
        judged
    }

    /// Has a user leave a room of other servers that is too complex, once its state is complete. Returns whether that
    /// has been judged: `false` while the state is not complete.
    ///
    /// # Errors
    /// When the user could not leave.
    pub async fn leave_if_too_complex(&self, room_id: &RoomId, user: &UserId) -> Result<bool, MembershipError> {
        let (limit, room) = (self.remote_room_limit.as_ref(), self.rooms.get(room_id).await?);
        let (Some(limit), Some(room)) = (limit, room) else { return Ok(true) };
        if !self.rooms.full_state_within(&room, STATE_TIMEOUT).await {
            return Ok(false);
        }
        let Err(too_complex) = limit.check(complexity(&room.view())) else { return Ok(true) };
        if membership_in(&room, user) != Some(Membership::Join) {
            return Ok(true);
        }
        self.leave_complex_room(&room, user).await?;
        tracing::warn!(room = %room_id, %user, "the user has left a room that turned out too complex: {too_complex}");
        Ok(true)
    }

    async fn leave_complex_room(&self, room: &Arc<Room>, user: &UserId) -> Result<(), MembershipError> {
        let leave = MembershipChange {
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
        self.set(room, &leave, "leave", None, &Object::new()).await.map(drop)
    }

    async fn join_locally(
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
        let mut server_fields = server_fields_of(guest);
        if let Some(authoriser) = restricted::authoriser(&self.rooms, room, &change.target).await? {
            server_fields.insert("join_authorised_via_users_server", authoriser.as_str());
        }
        let is_first = successor::is_first_join(room, &change.target);
        let sent = self.set(room, change, "join", Some(&change.target), &server_fields).await?;
        if guest && !room.view().guests_can_join {
            // Guest access ended while the guest joined.
            let leave = MembershipChange { content: Object::new(), reason: None, transaction: None, ..change.clone() };
            self.set(room, &leave, "leave", None, &Object::new()).await?;
            return Err(MembershipError::GuestsForbidden);
        }
        if is_first {
            successor::joined(&self.rooms, room, &change.target).await;
        }
        Ok(sent)
    }

    /// Joins a room with partial state through servers that have the complete state. `None` if this server has to
    /// decide itself: the state is complete, or none of the servers decides.
    async fn join_with_part_of_state(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Option<Result<Sent, MembershipError>> {
        let view = room.view();
        let partial = incomplete_join(&view)?;
        if view.state.membership(change.target.as_str()) == Some(Membership::Join) {
            return None;
        }
        if guest && !view.guests_can_join {
            return Some(Err(MembershipError::GuestsForbidden));
        }
        let mut servers = servers_with_state(&partial, &view, self.rooms.server_name());
        servers.truncate(MAX_SERVERS_WITH_STATE);
        let joined = self
            .remote(&servers)
            .ok()?
            .join(change, Via { servers: &servers, room: Some(room) }, server_fields_of(guest))
            .await;
        match &joined {
            Ok(_) => Some(joined),
            Err(MembershipError::Remote(error)) if error.status() == Some(FORBIDDEN) => Some(joined),
            Err(_) => None,
        }
    }

    /// Joins a restricted room through another server, as no user of this one may authorise the join. Only servers with
    /// a user who may, by the room's state here, are asked.
    async fn join_through_authorisers(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        let servers = restricted::servers_with_authorisers(&room.view(), self.rooms.server_name());
        let Ok(remote) = self.remote(&servers) else { return Err(MembershipError::UnableToGrantJoin) };
        match remote.join(change, Via { servers: &servers, room: Some(room) }, server_fields_of(guest)).await {
            Err(MembershipError::Remote(_)) => Err(MembershipError::UnableToGrantJoin),
            other => other,
        }
    }
}

/// Returns the fields that this server sets in a join: a mark for guests, as in Synapse, which clients and bridges use.
fn server_fields_of(guest: bool) -> Object {
    if guest { Object::from([("kind", "guest")]) } else { Object::new() }
}
