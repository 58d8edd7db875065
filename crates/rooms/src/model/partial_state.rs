//! Rooms with partial state: joined while their members were omitted
//! (<https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>, `omit_members`).

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::id::ServerName;
use plexus_store::repo::partial_joins::PartialJoin;

use crate::model::room::Room;
use crate::model::room_view::RoomView;

/// The rest of a room's state has not arrived in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("This server is still fetching the members of the room from other servers; try again later")]
pub struct StatePending;

impl Room {
    /// Waits until the state is complete, or this server has left the room.
    pub async fn full_state(&self) {
        loop {
            let completed = self.state_completed.notified();
            tokio::pin!(completed);
            completed.as_mut().enable();
            let view = self.view();
            if !view.is_partial() || view.local_joined.is_empty() {
                return;
            }
            self.state_requested.notify_one();
            completed.await;
        }
    }
}

/// Returns the join by which this server entered a room whose state is still partial.
pub fn incomplete_join(view: &RoomView) -> Option<Arc<PartialJoin>> {
    view.partial.as_ref().filter(|join| join.full_position.is_none()).map(Arc::clone)
}

/// Returns the servers that have the room's state, the one that let the user in first.
pub fn servers_with_state(join: &PartialJoin, view: &RoomView, own: &ServerName) -> Vec<ServerName> {
    let mut seen = HashSet::new();
    std::iter::once(&join.joined_via)
        .map(String::as_str)
        .chain(join.servers.iter().map(String::as_str))
        .chain(view.servers.names())
        .filter_map(|name| ServerName::try_from(name).ok())
        .filter(|server| server != own && seen.insert(server.clone()))
        .collect()
}
