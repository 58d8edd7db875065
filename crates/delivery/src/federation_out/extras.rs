//! The data that a server gets besides the log.

use std::collections::VecDeque;

use super::ephemeral::Ephemeral;
use super::refusals::widened;
use super::transaction::MAX_PIECES;
use crate::outbox::Extras;

/// The most ephemeral EDUs that wait for one server; then the oldest is dropped.
const MAX_EPHEMERAL: usize = 500;
/// The data that a server gets besides the log.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerExtras {
    /// There may be messages for its devices.
    pub to_device: bool,
    /// It refuses so many of them that they are held back for now.
    pub holds_to_device: bool,
    /// The most pieces in its next transaction, while the one that it refuses is being found.
    pub limit: Option<usize>,
    pub ephemeral: VecDeque<Ephemeral>,
}

impl ServerExtras {
    /// Adds an EDU in place of an older one about the same.
    pub(super) fn push_ephemeral(&mut self, edu: Ephemeral) {
        self.ephemeral.retain(|other| other.key() != edu.key());
        if self.ephemeral.len() >= MAX_EPHEMERAL {
            self.ephemeral.pop_front();
        }
        self.ephemeral.push_back(edu);
    }
}

impl Extras for ServerExtras {
    fn is_due(&self) -> bool {
        (self.to_device && !self.holds_to_device) || !self.ephemeral.is_empty()
    }

    fn is_durable(&self) -> bool {
        self.to_device
    }

    fn take(&mut self) -> Self {
        Self {
            to_device: !self.holds_to_device && std::mem::take(&mut self.to_device),
            holds_to_device: false,
            limit: self.limit,
            ephemeral: std::mem::take(&mut self.ephemeral),
        }
    }

    fn put_back(&mut self, taken: Self) {
        self.to_device |= taken.to_device;
        self.holds_to_device |= taken.holds_to_device;
        self.limit = taken.limit.or(self.limit);
        taken.ephemeral.into_iter().rev().for_each(|edu| self.ephemeral.push_front(edu));
    }

    fn delivered(&mut self, remaining: Self) {
        self.limit = self.limit.and_then(|limit| widened(limit, MAX_PIECES));
        self.put_back(remaining);
    }

    fn drop_ephemeral(&mut self) {
        self.ephemeral.clear();
    }

    fn came_back(&mut self) {
        self.holds_to_device = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(key: &str) -> Ephemeral {
        Ephemeral::Typing { key: key.into(), content: "{}".into() }
    }

    #[test]
    fn the_limit_widens_with_every_transaction_that_is_accepted() {
        let mut extras = ServerExtras { to_device: true, ..ServerExtras::default() };
        extras.push_ephemeral(typing("a"));
        let taken = extras.take();
        assert!(taken.limit.is_none() && taken.to_device && !extras.is_durable());
        extras.put_back(ServerExtras { limit: Some(20), ..taken });
        let taken = extras.take();
        assert!(taken.limit == Some(20) && taken.to_device && taken.ephemeral.len() == 1);
        for limit in [Some(40), Some(80), None] {
            extras.delivered(ServerExtras { to_device: true, ..ServerExtras::default() });
            assert_eq!(extras.take().limit, limit);
        }
    }

    #[test]
    fn messages_that_are_held_back_are_not_due() {
        let mut extras = ServerExtras { to_device: true, ..ServerExtras::default() };
        let taken = extras.take();
        extras.put_back(ServerExtras { holds_to_device: true, ..taken });
        assert!(!extras.is_due() && extras.is_durable() && !extras.take().to_device);
        extras.push_ephemeral(typing("a"));
        assert!(extras.is_due());
        extras.came_back();
        assert!(extras.take().to_device);
    }

    #[test]
    fn a_newer_edu_replaces_an_older_one_about_the_same() {
        let mut extras = ServerExtras::default();
        ["a", "b", "a"].into_iter().for_each(|key| extras.push_ephemeral(typing(key)));
        assert_eq!(extras.ephemeral.iter().map(|edu| edu.key().1).collect::<Vec<_>>(), ["b", "a"]);
        (0..=MAX_EPHEMERAL).for_each(|key| extras.push_ephemeral(typing(&key.to_string())));
        assert_eq!(extras.ephemeral.len(), MAX_EPHEMERAL);
    }
}
