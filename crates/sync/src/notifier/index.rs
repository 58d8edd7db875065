//! The rooms, users and devices that changed since this process started. A sync without changes reads nothing else.

use std::collections::{HashMap, VecDeque};

use parking_lot::{RwLock, RwLockReadGuard};
use plexus_protocol::id::UserId;
use plexus_store::{Change, Position, RoomNid, StickyEvent};

/// The most room changes in the log; a sync that missed more looks at each of its user's rooms instead.
const MAX_LOG_ENTRIES: usize = 16_384;
/// At most this many changes are read from the log whatever the number of the user's rooms.
const MAX_SHORT_LOG: usize = 64;
/// The most rooms, users or devices; above it the index starts over.
const MAX_ENTRIES: usize = 200_000;

/// The answer of the index to a question about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaybeChanged<T> {
    /// The change, or that there was none.
    Known(T),
    /// Memory does not reach back that far.
    Unknown,
}

/// Positions of the last changes per room, user and device. Owned by this process: it follows the commits.
pub struct ChangeIndex(RwLock<Inner>);

struct Inner {
    /// Every change after this position is in here.
    complete_after: Position,
    newest: Position,
    rooms: HashMap<RoomNid, RoomPositions>,
    /// Room changes in commit order; every one after `log_after`.
    log: VecDeque<(Position, RoomNid)>,
    log_after: Position,
    users: HashMap<UserId, UserPositions>,
    devices: HashMap<UserId, HashMap<Box<str>, DevicePositions>>,
    /// Users whose device lists changed, in commit order; every one after `device_lists_after`.
    device_lists: VecDeque<DeviceListChange>,
    device_lists_after: Position,
    /// The newest change of any profile.
    profiles: Position,
}

struct DeviceListChange {
    position: Position,
    user: UserId,
    /// Only the user sees a difference.
    private: bool,
}

/// When a room last changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomPositions {
    /// The newest event.
    pub event: Position,
    /// The newest receipt.
    pub receipt: Position,
}

#[derive(Debug, Clone, Copy, Default)]
struct UserPositions {
    account_data: Position,
    membership: Position,
}

#[derive(Debug, Clone, Copy, Default)]
struct DevicePositions {
    /// The newest message for the device.
    newest: Position,
    /// All messages at or before this have been deleted.
    cleared: Position,
    /// When the number of one-time keys or the unused fallback keys changed last.
    keys: Position,
}

impl ChangeIndex {
    pub(super) fn new(committed: Position) -> Self {
        Self(RwLock::new(Inner::complete_after(committed)))
    }

    /// Whether everything after `since` is known here.
    pub fn reaches(&self, since: Position) -> bool {
        since >= self.read().complete_after
    }

    /// Returns the rooms that `is_mine` accepts with an event or a receipt after `since`. `mine` iterates over all
    /// rooms that it accepts: used when there are more changes than such rooms.
    pub fn rooms_changed<I: Iterator<Item = RoomNid>>(
        &self,
        since: Position,
        is_mine: impl Fn(RoomNid) -> bool,
        mine: impl Fn() -> I,
    ) -> MaybeChanged<Vec<RoomNid>> {
        let inner = self.read();
        if since < inner.complete_after {
            return MaybeChanged::Unknown;
        }
        let start = inner.log.partition_point(|(position, _)| *position <= since);
        let missed = inner.log.len() - start;
        if since >= inner.log_after && (missed <= MAX_SHORT_LOG || missed <= mine().count() * 4) {
            let mut rooms: Vec<RoomNid> =
                inner.log.range(start..).map(|(_, room)| *room).filter(|room| is_mine(*room)).collect();
            rooms.sort_unstable();
            rooms.dedup();
            return MaybeChanged::Known(rooms);
        }
        let changed = |room: &RoomNid| {
            inner.rooms.get(room).is_some_and(|positions| positions.event.max(positions.receipt) > since)
        };
        MaybeChanged::Known(mine().filter(changed).collect())
    }

    /// When a room last changed; zeros for a room that has not since memory began.
    pub fn room(&self, room: RoomNid) -> RoomPositions {
        self.read().rooms.get(&room).copied().unwrap_or_default()
    }

    /// Whether a room got an event after `since`.
    pub fn event_after(&self, room: RoomNid, since: Position) -> MaybeChanged<bool> {
        let inner = self.read();
        inner.later(inner.rooms.get(&room).map(|positions| positions.event), since)
    }

    /// Whether account data of a user was written after `since`.
    pub fn account_data_changed(&self, user: &UserId, since: Position) -> MaybeChanged<bool> {
        let inner = self.read();
        inner.later(inner.users.get(user).map(|user| user.account_data), since)
    }

    /// Whether a membership of a user changed after `since`.
    pub fn membership_changed(&self, user: &UserId, since: Position) -> MaybeChanged<bool> {
        let inner = self.read();
        inner.later(inner.users.get(user).map(|user| user.membership), since)
    }

    /// Whether the profile of any user of this server changed after `since`.
    pub fn profiles_changed(&self, since: Position) -> MaybeChanged<bool> {
        let inner = self.read();
        inner.later(Some(inner.profiles), since)
    }

    /// Whether messages for a device arrived after `since`.
    pub fn to_device_changed(&self, user: &UserId, device: &str, since: Position) -> MaybeChanged<bool> {
        let inner = self.read();
        inner.later(inner.device(user, device).map(|device| device.newest), since)
    }

    /// Whether the one-time or fallback keys of a device changed after `since`.
    pub fn device_keys_changed(&self, user: &UserId, device: &str, since: Position) -> MaybeChanged<bool> {
        let inner = self.read();
        inner.later(inner.device(user, device).map(|device| device.keys), since)
    }

    /// Whether messages at or before `upto` may still be stored for a device.
    pub fn to_device_uncleared(&self, user: &UserId, device: &str, upto: Position) -> bool {
        let inner = self.read();
        let messages = inner.device(user, device).unwrap_or_default();
        match messages.cleared {
            // Not read since the start: there may be some from before.
            0 => true,
            cleared => messages.newest > cleared && upto > cleared,
        }
    }

    /// Records that the messages for a device at or before `upto` have been deleted.
    pub fn to_device_cleared(&self, user: &UserId, device: &str, upto: Position) {
        let mut inner = self.0.write();
        let messages = inner.device_mut(user, device);
        messages.cleared = messages.cleared.max(upto);
    }

    /// Returns the users whose device lists changed for `viewer` after `since` and at or before `upto`.
    pub fn device_lists(&self, viewer: &UserId, since: Position, upto: Position) -> MaybeChanged<Vec<UserId>> {
        let inner = self.read();
        if since < inner.device_lists_after {
            return MaybeChanged::Unknown;
        }
        let start = inner.device_lists.partition_point(|change| change.position <= since);
        let changes = inner.device_lists.range(start..).take_while(|change| change.position <= upto);
        let seen = changes.filter(|change| !change.private || change.user == *viewer);
        MaybeChanged::Known(seen.map(|change| change.user.clone()).collect())
    }

    pub(super) fn apply(&self, changes: &[Change]) {
        let mut inner = self.0.write();
        inner.bound();
        // Others have been applied before.
        let known = inner.newest;
        changes.iter().filter(|change| change.position() > known).for_each(|change| inner.apply(change));
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read()
    }
}

impl Inner {
    /// Knows no change, and that there will be none at or before this position.
    fn complete_after(position: Position) -> Self {
        Self {
            complete_after: position,
            newest: position,
            rooms: HashMap::new(),
            log: VecDeque::new(),
            log_after: position,
            users: HashMap::new(),
            devices: HashMap::new(),
            device_lists: VecDeque::new(),
            device_lists_after: position,
            profiles: 0,
        }
    }

    fn apply(&mut self, change: &Change) {
        self.newest = self.newest.max(change.position());
        match change {
            Change::Event { room, position, .. }
            | Change::Sticky(StickyEvent { room_nid: room, position, soft_failed: false, .. }) => {
                let newest = &mut self.rooms.entry(*room).or_default().event;
                // A sticky event of the timeline is announced twice, the second time after those that follow it.
                if *newest < *position {
                    *newest = *position;
                    self.log_room(*position, *room);
                }
            }
            Change::Receipt(receipt) => {
                self.rooms.entry(receipt.room).or_default().receipt = receipt.position;
                self.log_room(receipt.position, receipt.room);
            }
            Change::Membership { user, membership, .. } => self.user_mut(user).membership = membership.position,
            Change::AccountData { user, position, .. } => self.user_mut(user).account_data = *position,
            Change::ToDevice { user, device, position } => self.device_mut(user, device).newest = *position,
            Change::OneTimeKeys { user, device, position } => self.device_mut(user, device).keys = *position,
            Change::DeviceDeleted { user, device, .. } => self.forget_device(user, device),
            Change::Profile { position, .. } => self.profiles = *position,
            Change::Missed { position } => *self = Self::complete_after(*position),
            Change::FederationToDevice { .. }
            | Change::Room { .. }
            | Change::OlderMemberships { .. }
            | Change::OutgoingToNewServer { .. }
            | Change::Sticky(StickyEvent { soft_failed: true, .. })
            | Change::Forgotten { .. }
            | Change::Pushers { .. }
            | Change::Tokens { .. }
            | Change::Erased { .. } => {}
            Change::DeviceList { user, private, position } => {
                if self.device_lists.len() == MAX_LOG_ENTRIES
                    && let Some(oldest) = self.device_lists.pop_front()
                {
                    self.device_lists_after = oldest.position;
                }
                let (position, user, private) = (*position, user.clone(), *private);
                self.device_lists.push_back(DeviceListChange { position, user, private });
            }
        }
    }

    fn log_room(&mut self, position: Position, room: RoomNid) {
        if self.log.len() == MAX_LOG_ENTRIES
            && let Some((position, _)) = self.log.pop_front()
        {
            self.log_after = position;
        }
        self.log.push_back((position, room));
    }

    fn later(&self, changed: Option<Position>, since: Position) -> MaybeChanged<bool> {
        match changed {
            Some(position) if position > since => MaybeChanged::Known(true),
            _ if since >= self.complete_after => MaybeChanged::Known(false),
            _ => MaybeChanged::Unknown,
        }
    }

    fn user_mut(&mut self, user: &UserId) -> &mut UserPositions {
        self.users.entry(user.clone()).or_default()
    }

    fn device(&self, user: &UserId, device: &str) -> Option<DevicePositions> {
        self.devices.get(user)?.get(device).copied()
    }

    fn device_mut(&mut self, user: &UserId, device: &str) -> &mut DevicePositions {
        self.devices.entry(user.clone()).or_default().entry(device.into()).or_default()
    }

    fn forget_device(&mut self, user: &UserId, device: &str) {
        if let Some(devices) = self.devices.get_mut(user) {
            devices.remove(device);
            if devices.is_empty() {
                self.devices.remove(user);
            }
        }
    }

    /// Starts afresh when there are too many entries: changes up to now are then read from the database.
    fn bound(&mut self) {
        if self.rooms.len().max(self.users.len()).max(self.devices.len()) > MAX_ENTRIES {
            self.rooms.clear();
            self.users.clear();
            self.devices.clear();
            self.complete_after = self.newest;
        }
    }
}

#[cfg(test)]
mod tests;
