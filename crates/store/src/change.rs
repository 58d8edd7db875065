//! What a commit tells the rest of the program.

use plexus_protocol::id::UserId;

use crate::{Position, RoomNid};

/// One durable change that a client or another server can learn about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A room's timeline got an event.
    Event {
        /// The room.
        room: RoomNid,
        /// The event's position.
        position: Position,
        /// Whether other servers are to get it from this one.
        outgoing: bool,
    },
    /// A user's membership of a room changed (joined, invited, left, banned, knocked, forgot).
    Membership {
        /// Whose.
        user: UserId,
        /// The room.
        room: RoomNid,
        /// Whether the user is in it now.
        joined: bool,
        /// Whether the user was in it before.
        was_joined: bool,
        /// When.
        position: Position,
    },
    /// A read receipt moved.
    Receipt {
        /// The room.
        room: RoomNid,
        /// Whose.
        user: UserId,
        /// When.
        position: Position,
        /// `m.read.private`: only the user themself learns of it.
        private: bool,
    },
    /// A user's account data, tags or push rules changed.
    AccountData {
        /// Whose.
        user: UserId,
        /// The room, unless it is global.
        room: Option<RoomNid>,
        /// When.
        position: Position,
    },
    /// A message waits for a device.
    ToDevice {
        /// Whose device.
        user: UserId,
        /// Which one.
        device: String,
        /// When.
        position: Position,
    },
    /// A user's devices, their keys or the cross-signing keys changed.
    DeviceList {
        /// Whose.
        user: UserId,
        /// Only the user sees a difference: signatures on keys of others, or the user-signing key.
        private: bool,
        /// When.
        position: Position,
    },
    /// Messages wait for devices of another server's users.
    FederationToDevice {
        /// The server.
        server: String,
        /// When.
        position: Position,
    },
    /// The number of one-time keys, or the unused fallback keys, of a device changed.
    OneTimeKeys {
        /// Whose device.
        user: UserId,
        /// Which one.
        device: String,
        /// When.
        position: Position,
    },
}

impl Change {
    /// The change's position.
    pub fn position(&self) -> Position {
        match self {
            Self::Event { position, .. }
            | Self::Membership { position, .. }
            | Self::Receipt { position, .. }
            | Self::AccountData { position, .. }
            | Self::ToDevice { position, .. }
            | Self::FederationToDevice { position, .. }
            | Self::DeviceList { position, .. }
            | Self::OneTimeKeys { position, .. } => *position,
        }
    }
}

/// Follows the commits. Its methods are called on the writer thread, in commit order: they may neither block nor call
/// the database.
pub trait CommitListener: Send + Sync {
    /// Called after the commit, before its position is published: the place to update indexes in memory.
    fn apply(&self, _changes: &[Change]) {}

    /// Called after the position is published: the place to wake tasks that wait. `changes` may be empty.
    fn published(&self, position: Position, changes: &[Change]);
}
