//! The users who left rooms, until [`super::RemoteDevices`] looks at them.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_store::{Change, CommitListener, Position, RoomNid};
use tokio::sync::Notify;

/// The most users that are kept; above it, every user may have left.
const MAX_DEPARTED: usize = 10_000;

/// The users who may not be in a room any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Departed {
    /// These, each with the room that the user left.
    These(BTreeSet<(RoomNid, UserId)>),
    /// More than are kept.
    Anybody,
}

/// Collects the users who leave rooms. Owned by this process: it follows the commits.
pub(super) struct DepartedMembers {
    departed: Mutex<Departed>,
    arrived: Notify,
}

impl Default for DepartedMembers {
    fn default() -> Self {
        Self { departed: Mutex::new(Departed::These(BTreeSet::new())), arrived: Notify::new() }
    }
}

impl DepartedMembers {
    /// Waits until a user has left a room; removes and returns those who have.
    pub(super) async fn take(&self) -> Departed {
        self.arrived.notified().await;
        std::mem::replace(&mut *self.departed.lock(), Departed::These(BTreeSet::new()))
    }

    /// Adds a user who may not be in a room any more.
    pub(super) fn put(&self, room: RoomNid, user: &UserId) {
        let mut departed = self.departed.lock();
        match &mut *departed {
            Departed::Anybody => return,
            Departed::These(these) if these.len() < MAX_DEPARTED => _ = these.insert((room, user.clone())),
            more => *more = Departed::Anybody,
        }
        drop(departed);
        self.arrived.notify_one();
    }
}

impl CommitListener for DepartedMembers {
    fn published(&self, _position: Position, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Membership { user, membership, .. } if membership.kind != Membership::Join => {
                    self.put(membership.room, user);
                }
                Change::Missed { .. } => {
                    *self.departed.lock() = Departed::Anybody;
                    self.arrived.notify_one();
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_many_are_anybody() {
        let members = DepartedMembers::default();
        let user = |at: usize| UserId::try_from(format!("@u{at}:x")).unwrap();
        members.put(1, &user(0));
        assert_eq!(members.take().await, Departed::These(BTreeSet::from([(1, user(0))])));
        (0..=MAX_DEPARTED).for_each(|at| members.put(1, &user(at)));
        assert_eq!(members.take().await, Departed::Anybody);
    }
}
