//! The complexity of rooms, as Synapse defines it, and its limit for rooms of other servers (`limit_remote_rooms`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_store::DbError;

use super::{MembershipError, RemoteMemberships};
use crate::model::limits::Authority;
use crate::model::room_view::RoomView;

/// The number of state events of a room of complexity 1.
const STATE_EVENTS: f64 = 500.0;
/// The maximum number of servers that are asked for a room's complexity, while the user waits.
const MAX_SERVERS_ASKED: usize = 3;

/// Has rooms judged whose state is not complete when a user joins them.
pub trait ComplexityTasks: Send + Sync {
    /// Has [`super::MembershipChanger::leave_if_too_complex`] called until it has judged the room.
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
            Authority::Administrator | Authority::UnlimitedAdministrator => !self.admins_can_join,
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
