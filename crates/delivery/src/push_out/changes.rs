//! Collects the changes that may have to be pushed.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_store::repo::pushers::PushedInvite;
use plexus_store::{Change, CommitListener, Position, RoomNid};
use tokio::sync::Notify;

use super::owners::PushOwners;

/// The most events, and the most invites, that are collected; more are read from the database.
const MAX_COLLECTED: usize = 8_192;
/// The most rooms with redactions that are collected, and the most users who have read something: of more, badges stay
/// as they are until the next notification.
const MAX_BADGE_CHANGES: usize = 8_192;

/// Collects changes, while anybody has a pusher. Owned by the process that delivers: it follows the commits.
pub(super) struct PushChanges {
    owners: Arc<PushOwners>,
    server_name: ServerName,
    is_active: AtomicBool,
    collected: Mutex<Collected>,
    arrived: Notify,
    redacted: Notify,
}

#[derive(Default)]
struct Collected {
    /// Up to here nobody had a pusher.
    idle_until: Position,
    /// All events and invites after this position are here.
    complete_after: Position,
    events: VecDeque<(Position, RoomNid)>,
    invites: VecDeque<PushedInvite>,
    /// The users whose pushers changed.
    owners: HashSet<UserId>,
    /// Anybody's pushers may have changed.
    all_owners: bool,
    /// The users with pushers who have read something.
    readers: HashSet<UserId>,
    /// The rooms in which something was redacted, or has expired.
    redacted: BTreeSet<RoomNid>,
}

/// The pushers that may have changed.
pub(super) enum ChangedPushers {
    All,
    Of(UserId),
}

/// Events and invites at or before `upto`, in the order of their positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pushable {
    pub(super) events: Vec<(Position, RoomNid)>,
    pub(super) invites: Vec<PushedInvite>,
    pub(super) upto: Position,
}

impl CommitListener for PushChanges {
    fn apply(&self, changes: &[Change]) {
        let matters = |change: &Change| matches!(change, Change::Pushers { .. } | Change::Missed { .. });
        if !self.is_active.load(Ordering::Acquire) && !changes.iter().any(matters) {
            return;
        }
        let mut collected = self.collected.lock();
        if !self.is_active.swap(true, Ordering::AcqRel) {
            let before = changes.iter().map(Change::position).min().unwrap_or_default() - 1;
            collected.idle_until = before.max(collected.idle_until);
            collected.complete_after = collected.idle_until;
        }
        for change in changes {
            self.collect(&mut collected, change);
        }
    }

    fn published(&self, _position: Position, _changes: &[Change]) {
        if self.is_active.load(Ordering::Acquire) {
            self.arrived.notify_one();
        }
    }
}

impl PushChanges {
    /// Collects everything after `committed`, until it is [paused](Self::pause).
    pub(super) fn new(owners: Arc<PushOwners>, server_name: ServerName, committed: Position) -> Self {
        let is_active = AtomicBool::new(true);
        let collected = Mutex::new(Collected { complete_after: committed, ..Collected::default() });
        Self { owners, server_name, is_active, collected, arrived: Notify::new(), redacted: Notify::new() }
    }

    /// Waits until something has been committed while somebody has a pusher.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Waits until something has been redacted, or has expired.
    pub(super) async fn redacted(&self) {
        self.redacted.notified().await;
    }

    /// Takes out the users who have read something.
    pub(super) fn take_readers(&self) -> HashSet<UserId> {
        std::mem::take(&mut self.collected.lock().readers)
    }

    /// Takes out the rooms in which something was redacted, or has expired.
    pub(super) fn take_redacted(&self) -> BTreeSet<RoomNid> {
        std::mem::take(&mut self.collected.lock().redacted)
    }

    /// Takes out a change of pushers; `None` if there are no more.
    pub(super) fn take_changed_pushers(&self) -> Option<ChangedPushers> {
        let mut collected = self.collected.lock();
        if std::mem::take(&mut collected.all_owners) {
            return Some(ChangedPushers::All);
        }
        let user = collected.owners.iter().next()?.clone();
        collected.owners.remove(&user);
        Some(ChangedPushers::Of(user))
    }

    /// Puts back a change of pushers, which could not be followed.
    pub(super) fn put_back(&self, changed: ChangedPushers) {
        let mut collected = self.collected.lock();
        match changed {
            ChangedPushers::All => collected.all_owners = true,
            ChangedPushers::Of(user) => _ = collected.owners.insert(user),
        }
    }

    /// Stops collecting, because nobody has a pusher.
    pub(super) fn pause(&self) {
        let mut collected = self.collected.lock();
        if collected.owners.is_empty() && !collected.all_owners {
            self.is_active.store(false, Ordering::Release);
            *collected = Collected { idle_until: collected.idle_until, ..Collected::default() };
        }
    }

    /// Returns the oldest events and invites with `after < position <= upto`, at most `limit` of each; `None` if some
    /// of them may not have been collected.
    pub(super) fn between(&self, after: Position, upto: Position, limit: usize) -> Option<Pushable> {
        let collected = self.collected.lock();
        if !self.is_active.load(Ordering::Acquire) || upto <= collected.idle_until {
            return Some(Pushable { upto, ..Pushable::default() });
        }
        if after.max(collected.idle_until) < collected.complete_after {
            return None;
        }
        let mut found = Pushable { upto, ..Pushable::default() };
        let is_between = |position: &Position| *position > after && *position <= upto;
        found.events.extend(collected.events.iter().filter(|(position, _)| is_between(position)).take(limit));
        let invites = collected.invites.iter().filter(|invite| is_between(&invite.position));
        found.invites.extend(invites.take(limit).cloned());
        found.end_at_limit(limit);
        Some(found)
    }

    /// Drops the events and invites at or before `upto`, which have been distributed.
    pub(super) fn distributed(&self, upto: Position) {
        let mut collected = self.collected.lock();
        let Collected { events, invites, .. } = &mut *collected;
        events.drain(..events.partition_point(|(position, _)| *position <= upto));
        invites.drain(..invites.partition_point(|invite| invite.position <= upto));
        collected.complete_after = collected.complete_after.max(upto);
    }

    fn collect(&self, collected: &mut Collected, change: &Change) {
        match change {
            // Events with older positions were added to the past of a room.
            Change::Event { room, position, .. } if *position > collected.complete_after => {
                collected.push_event(*position, *room);
            }
            // Whether the user has a pusher is looked at later: one that was set just before may not be known yet.
            Change::Membership { user, membership, .. }
                if membership.kind == Membership::Invite && user.server_name() == self.server_name.as_str() =>
            {
                if collected.invites.len() == MAX_COLLECTED
                    && let Some(invite) = collected.invites.pop_front()
                {
                    collected.complete_after = collected.complete_after.max(invite.position);
                }
                let (room, position) = (membership.room, membership.position);
                collected.invites.push_back(PushedInvite { user: user.clone(), room, position });
            }
            Change::Receipt(receipt)
                if collected.readers.len() < MAX_BADGE_CHANGES && self.owners.contains(&receipt.user) =>
            {
                collected.readers.insert(receipt.user.clone());
            }
            Change::Room { room, redacts: true, .. } if collected.redacted.len() < MAX_BADGE_CHANGES => {
                collected.redacted.insert(*room);
                self.redacted.notify_one();
            }
            Change::Pushers { user, .. } => _ = collected.owners.insert(user.clone()),
            Change::Missed { position } => {
                collected.complete_after = *position;
                collected.all_owners = true;
            }
            _ => {}
        }
    }
}

impl Collected {
    fn push_event(&mut self, position: Position, room: RoomNid) {
        let index = self.events.partition_point(|(other, _)| *other < position);
        if self.events.get(index).is_none_or(|(other, _)| *other != position) {
            self.events.insert(index, (position, room));
        }
        if self.events.len() > MAX_COLLECTED
            && let Some((dropped, _)) = self.events.pop_front()
        {
            self.complete_after = self.complete_after.max(dropped);
        }
    }
}

impl Pushable {
    /// Leaves out what comes after the last event or invite if there are as many as `limit`: there may be more of them.
    pub(super) fn end_at_limit(&mut self, limit: usize) {
        if self.events.len() >= limit {
            self.upto = self.events.last().map_or(self.upto, |(position, _)| self.upto.min(*position));
        }
        if self.invites.len() >= limit {
            self.upto = self.invites.last().map_or(self.upto, |invite| self.upto.min(invite.position));
        }
        let upto = self.upto;
        self.events.retain(|(position, _)| *position <= upto);
        self.invites.retain(|invite| invite.position <= upto);
    }
}
