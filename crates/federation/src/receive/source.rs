//! A server that is asked about a room.

use std::sync::Arc;

use plexus_protocol::id::ServerName;
use plexus_rooms::PeerError;
use plexus_rooms::model::room::Room;

use super::{Deadline, PduReceiver};
use crate::peers::PeerResponse;

/// A server that is asked about a room, within a deadline.
#[derive(Clone, Copy)]
pub(crate) struct RemoteSource<'a> {
    /// Stores what the server returns.
    pub receiver: &'a PduReceiver,
    pub room: &'a Arc<Room>,
    pub server: &'a ServerName,
    pub deadline: &'a Deadline,
}

impl RemoteSource<'_> {
    /// Waits for the response of the server, until the deadline.
    pub(crate) async fn ask<T>(&self, response: PeerResponse<'_, T>) -> Result<T, PeerError> {
        self.deadline.ask(self.server, response).await
    }
}
