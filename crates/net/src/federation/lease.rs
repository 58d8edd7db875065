//! A connection in use.

use std::sync::Arc;

use plexus_protocol::id::ServerName;

use super::pool::{Pool, Sender};

/// A connection in use: closed when dropped, kept for the next request when given back.
pub(super) struct Lease {
    pub(super) sender: Sender,
    /// Whether it served a request before: the other side may have closed it meanwhile.
    pub(super) reused: bool,
    pub(super) authority: ServerName,
    pub(super) pool: Arc<Pool>,
}

impl Lease {
    /// To be called when the last answer has been read to its end.
    pub(super) fn give_back(self) {
        self.pool.put(self.authority, self.sender);
    }
}
