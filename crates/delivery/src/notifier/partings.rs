//! Who left which room, until somebody looks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_store::{Change, RoomNid};
use tokio::sync::Notify;

/// How many are told apart; if there are more, it may have been anybody.
const KEPT: usize = 10_000;

/// Who may not be in a room any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Parted {
    /// These, each from that room.
    These(BTreeSet<(RoomNid, UserId)>),
    /// So many that it may be anybody.
    Everybody,
}

/// Takes note of who left.
pub struct Partings {
    /// Whether there is somebody who looks.
    open: AtomicBool,
    parted: Mutex<Parted>,
    arrived: Notify,
}

impl Default for Partings {
    fn default() -> Self {
        let parted = Mutex::new(Parted::These(BTreeSet::new()));
        Self { open: AtomicBool::new(false), parted, arrived: Notify::new() }
    }
}

impl Partings {
    /// From now on partings are kept. Whoever calls this has to look.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Waits for partings and takes them out.
    pub(crate) async fn take(&self) -> Parted {
        self.arrived.notified().await;
        let mut parted = self.parted.lock();
        std::mem::replace(&mut *parted, Parted::These(BTreeSet::new()))
    }

    /// Called on the writer thread.
    pub(super) fn committed(&self, changes: &[Change]) {
        if !self.open.load(Ordering::Acquire) {
            return;
        }
        for change in changes {
            if let Change::Membership { user, room, joined: false, .. } = change {
                self.put(*room, user);
            }
        }
    }

    /// A user may not be in a room any more.
    pub(crate) fn put(&self, room: RoomNid, user: &UserId) {
        let mut parted = self.parted.lock();
        match &mut *parted {
            Parted::Everybody => return,
            Parted::These(these) if these.len() < KEPT => _ = these.insert((room, user.clone())),
            more => *more = Parted::Everybody,
        }
        drop(parted);
        self.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_many_are_everybody() {
        let partings = Partings::default();
        let user = |at: usize| UserId::try_from(format!("@u{at}:x")).unwrap();
        partings.put(1, &user(0));
        assert_eq!(partings.take().await, Parted::These(BTreeSet::from([(1, user(0))])));
        (0..=KEPT).for_each(|at| partings.put(1, &user(at)));
        assert_eq!(partings.take().await, Parted::Everybody);
    }
}
