//! The complexity of rooms, as Synapse defines it, and its limit for rooms of other servers (`limit_remote_rooms`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_store::DbError;

use super::{MembershipChange, MembershipChanger, MembershipError, RemoteMemberships, membership_in};
use crate::model::limits::Authority;
use crate::model::partial_state::incomplete_join;
use crate::model::room::Room;
use crate::model::room_view::RoomView;

/// The number of state events of a room of complexity 1.
const STATE_EVENTS: f64 = 500.0;
/// The maximum number of servers that are asked for a room's complexity, while the user waits.
const MAX_SERVERS_ASKED: usize = 3;

/// How long a judgement waits for the rest of a room's state.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);

/// Has rooms judged whose state is not complete when a user joins them.
pub trait ComplexityTasks: Send + Sync {
    /// Has [`MembershipChanger::leave_if_too_complex`] called until it has judged the room.
    fn schedule<'a>(&'a self, room: &'a RoomId, user: &'a UserId) -> BoxFuture<'a, Result<(), DbError>>;
}

/// The limit on the complexity of rooms of other servers that users join.
#[derive(Clone)]
pub struct RemoteRoomLimit {
    /// The greatest complexity.
    pub max_complexity: f64,
    /// The error message.
    pub error: String,
    /// Whether the limit does not apply to administrators.
    pub admins_can_join: bool,
    /// Judges rooms whose state is not complete.
    pub tasks: Arc<dyn ComplexityTasks>,
}

/// Returns a room's complexity: its current state events, divided by 500, to two decimals.
#[must_use]
pub fn complexity(view: &RoomView) -> f64 {
    let state_events = u32::try_from(view.state.len()).map_or(f64::from(u32::MAX), f64::from);
    (state_events / STATE_EVENTS * 100.0).round() / 100.0
}

impl RemoteRoomLimit {
    pub(super) fn applies_to(&self, authority: Authority) -> bool {
        match authority {
            Authority::User | Authority::UnlimitedUser => true,
            Authority::Administrator => !self.admins_can_join,
            Authority::Server => false,
        }
    }

    pub(super) fn check(&self, complexity: f64) -> Result<(), MembershipError> {
        if complexity > self.max_complexity { Err(MembershipError::TooComplex(self.error.clone())) } else { Ok(()) }
    }

    /// Checks the complexity that one of the servers in the room reports, if one does.
    pub(super) async fn check_at_servers(
        &self,
        remote: &dyn RemoteMemberships,
        servers: &[ServerName],
        room: &RoomId,
    ) -> Result<(), MembershipError> {
        for server in servers.iter().take(MAX_SERVERS_ASKED) {
            match remote.room_complexity(server, room).await {
                Ok(complexity) => return self.check(complexity),
                Err(error) => tracing::debug!(%room, "{server} does not report the room's complexity: {error}"),
            }
        }
        Ok(())
    }
}

impl MembershipChanger {
    /// Checks the complexity of a room that a user has joined through another server, whatever that said: the user leaves
    /// a room that is too complex. One whose state is not complete is judged again later.
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
            authority: Authority::Server,
        };
        self.set(room, &leave, "leave", None, &Object::new()).await.map(drop)
    }
}
