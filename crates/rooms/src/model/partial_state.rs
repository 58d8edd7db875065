//! Rooms of whose state a part is missing (server-server API, `PUT /send_join` with `omit_members`).

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::id::ServerName;
use plexus_store::repo::partial_joins::PartialJoin;

use crate::model::room::Room;
use crate::model::room_view::RoomView;

/// The rest of a room's state takes too long to come.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("This server is still fetching the members of the room from other servers; try again later")]
pub struct StatePending;

impl Room {
    /// Waits until all of the state is here, or this server has left the room.
    pub async fn full_state(&self) {
        loop {
            let filled = self.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            let view = self.view();
            if !view.is_partial() || view.local_joined.is_empty() {
                return;
            }
            self.wanted.notify_one();
            filled.await;
        }
    }
}

/// How this server came into a room whose state is not full.
pub fn unfinished(view: &RoomView) -> Option<Arc<PartialJoin>> {
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
