//! What a commit changes, and who learns of it: memory follows the log.
//!
//! A commit is a list of changes, each with its position. The [`Database`](crate::Database) passes every commit to its
//! [`CommitListener`]s, in commit order and before the position is published. That is the only way in which what memory
//! holds of the database changes, in the process that writes and in every other:
//!
//! - In the process that writes, transactions make the list ([`Tx::announce`](crate::Tx::announce)), and the writer
//!   thread passes it on. What others would have to read, the writer attaches as it has built it ([`HandedOver`]).
//! - Another process ([`Database::open_follower`](crate::Database::open_follower)) reads the list from the tables
//!   ([`follow`](fn@crate::follow)).
//!   Nothing is attached then: a listener drops or marks what it holds, and the next use reads it.
//!
//! A listener gets a change twice, one change in place of several, or [`Change::Missed`]. It compares revisions and
//! positions with those of what it holds, and never replaces something with what is older. So a process that has missed
//! something is late, never wrong.
//!
//! Every change has a row with its position. Where no table of its own has one it is in `other_changes`, which is kept
//! short; a process that comes too late for it drops all that it holds.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;

use crate::{EventNid, Position, RoomNid, UserNid};

/// One durable change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A room's timeline got an event, or all of its state has become known.
    Event {
        /// The room.
        room: RoomNid,
        /// The event's position.
        position: Position,
        /// Whether other servers are to get it from this one.
        outgoing: bool,
    },
    /// A room as it is in memory changed.
    Room {
        /// The room.
        room: RoomNid,
        /// The revision of its row now, or a later one.
        revision: i64,
        /// The position of the newest change of the room that the commit made.
        position: Position,
        /// Whether stored events may have been redacted.
        redacts: bool,
        /// The room as its writer has it.
        object: HandedOver,
    },
    /// An event became sticky, or a soft-failed one that is turned out to be allowed.
    Sticky(StickyEvent),
    /// A server that came into a room is to get stored events.
    OutgoingToNewServer {
        /// The position of the last of them.
        position: Position,
    },
    /// A user's membership of a room changed (joined, invited, left, banned, knocked).
    Membership {
        /// The user.
        user: UserId,
        /// What it is now.
        membership: RoomMembership,
        /// Whether the user was in the room before, as far as is known: not when it was read from the tables.
        was_joined: bool,
    },
    /// Memberships of a room became known that are older than this server's own.
    OlderMemberships {
        /// The room.
        room: RoomNid,
        /// The position.
        position: Position,
        /// The memberships.
        object: HandedOver,
    },
    /// A user has forgotten a room that they left.
    Forgotten {
        /// The user.
        user: UserId,
        /// The room.
        room: RoomNid,
        /// The position.
        position: Position,
    },
    /// A read receipt moved.
    Receipt(Arc<Receipt>),
    /// A user's account data, tags, push rules or subscriptions to threads changed.
    AccountData {
        /// The user.
        user: UserId,
        /// The room, unless it is global.
        room: Option<RoomNid>,
        /// The position.
        position: Position,
    },
    /// A message waits for a device.
    ToDevice {
        /// The device's owner.
        user: UserId,
        /// The device.
        device: String,
        /// The position.
        position: Position,
    },
    /// A user's devices, their keys or the cross-signing keys changed.
    DeviceList {
        /// The user.
        user: UserId,
        /// Only the user sees a difference: signatures on keys of others, or the user-signing key.
        private: bool,
        /// The position.
        position: Position,
    },
    /// Messages wait for devices of another server's users.
    FederationToDevice {
        /// The server.
        server: String,
        /// The position.
        position: Position,
    },
    /// The number of one-time keys, or the unused fallback keys, of a device changed.
    OneTimeKeys {
        /// The device's owner.
        user: UserId,
        /// The device.
        device: String,
        /// The position.
        position: Position,
    },
    /// A device was deleted.
    DeviceDeleted {
        /// The device's owner.
        user: UserId,
        /// The device.
        device: String,
        /// The position.
        position: Position,
    },
    /// The pushers of a user changed.
    Pushers {
        /// The user.
        user: UserId,
        /// The position.
        position: Position,
    },
    /// Access tokens ended, or the accounts that they belong to changed.
    Tokens {
        /// The SHA-256 of each.
        hashes: Vec<TokenHash>,
        /// The position.
        position: Position,
    },
    /// The profile of a user of this server changed.
    Profile {
        /// The user's id.
        user: String,
        /// The position.
        position: Position,
    },
    /// A user's content was erased.
    Erased {
        /// The user's id.
        user: String,
        /// The position.
        position: Position,
    },
    /// Any changes at or before this position may be missing from what was announced: all that memory holds may be out
    /// of date.
    Missed {
        /// The position.
        position: Position,
    },
}

impl Change {
    /// Returns the change's position.
    pub fn position(&self) -> Position {
        match self {
            Self::Event { position, .. }
            | Self::Room { position, .. }
            | Self::OlderMemberships { position, .. }
            | Self::Forgotten { position, .. }
            | Self::AccountData { position, .. }
            | Self::ToDevice { position, .. }
            | Self::FederationToDevice { position, .. }
            | Self::DeviceList { position, .. }
            | Self::OneTimeKeys { position, .. }
            | Self::DeviceDeleted { position, .. }
            | Self::Pushers { position, .. }
            | Self::Tokens { position, .. }
            | Self::Profile { position, .. }
            | Self::Erased { position, .. }
            | Self::OutgoingToNewServer { position }
            | Self::Missed { position } => *position,
            Self::Membership { membership, .. } => membership.position,
            Self::Receipt(receipt) => receipt.position,
            Self::Sticky(event) => event.position,
        }
    }

    /// Drops what the writer has attached.
    pub(crate) fn detach(&mut self) {
        if let Self::Room { object, .. } | Self::OlderMemberships { object, .. } = self {
            *object = HandedOver::default();
        }
    }
}

/// A user's membership of one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomMembership {
    /// The room.
    pub room: RoomNid,
    /// The membership.
    pub kind: Membership,
    /// The member event.
    pub event_nid: EventNid,
    /// The position of the member event.
    pub position: Position,
    /// Whether the user has left and forgotten the room.
    pub forgotten: bool,
}

/// An event that is sticky (MSC4354).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StickyEvent {
    /// The event.
    pub event_nid: EventNid,
    /// Its room.
    pub room_nid: RoomNid,
    /// Its place in the timeline; of an event that is not there, when it was received or turned out to be allowed.
    pub position: Position,
    /// The user who sent it.
    pub sender: UserNid,
    /// Until when it is sticky, Unix ms.
    pub expires_ts: u64,
    /// The length of its JSON.
    pub bytes: u64,
    /// Whether this server sent it.
    pub is_own: bool,
    /// Whether the current state did not allow it: nobody sees it.
    pub soft_failed: bool,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The room.
    pub room: RoomNid,
    /// The user who has read.
    pub user: UserId,
    /// `m.read` or `m.read.private`.
    pub receipt_type: String,
    /// Empty: unthreaded; `main`: the main timeline; otherwise the thread's root event.
    pub thread_id: String,
    /// The event that was read.
    pub event_id: String,
    /// The position of the event in the room's timeline; `None` while this server does not have the event.
    pub event_position: Option<Position>,
    /// Unix ms.
    pub ts: u64,
    /// The position of the receipt.
    pub position: Position,
}

impl Receipt {
    /// The type of receipts that only their owner sees.
    pub const PRIVATE: &str = "m.read.private";

    /// Whether only its owner sees it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.receipt_type == Self::PRIVATE
    }
}

/// The SHA-256 of a token as the client sends it.
pub type TokenHash = [u8; 32];

/// What a writer attaches to a change for the listeners in its own process: an object of the crate that owns the memory
/// in question. Empty when the change was read from the tables. Gone when the commit has been applied.
#[derive(Clone, Default)]
pub struct HandedOver(Option<Arc<dyn Any + Send + Sync>>);

impl HandedOver {
    /// Attaches an object.
    #[must_use]
    pub fn new(object: Arc<dyn Any + Send + Sync>) -> Self {
        Self(Some(object))
    }

    /// Returns the object, if there is one of this type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

impl fmt::Debug for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "attached" } else { "none" })
    }
}

/// The object says nothing that the change does not say.
impl PartialEq for HandedOver {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for HandedOver {}

/// Follows the commits. Its methods are called in commit order, on the writer thread where this process writes: they
/// may neither block nor call the database.
pub trait CommitListener: Send + Sync {
    /// Called after the commit, before its position is published: the place to bring memory up to date.
    fn apply(&self, _changes: &[Change]) {}

    /// Called after the position is published: the place to wake tasks that wait. `changes` may be empty, and have no
    /// objects any more.
    fn published(&self, _position: Position, _changes: &[Change]) {}
}
