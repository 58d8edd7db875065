//! What changed for whom since this process started, in memory: a sync with nothing new asks nothing else.

use std::collections::{HashMap, VecDeque};

use parking_lot::{RwLock, RwLockReadGuard};
use plexus_protocol::id::UserId;
use plexus_store::{Change, Position, RoomNid};

/// How many room changes the log keeps; a sync that missed more looks at each of its user's rooms instead.
const LOGGED: usize = 16_384;
/// So few changes are walked without asking how many rooms the user has.
const FEW: usize = 64;
/// How many rooms, users or devices are kept before the index starts afresh, knowing only what comes.
const KEPT: usize = 200_000;

/// An answer from memory, or the admission that memory does not reach back that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<T> {
    Yes(T),
    No,
}

/// Positions of the last changes per room, user and device.
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
        Self(RwLock::new(Inner {
            complete_after: committed,
            newest: committed,
            rooms: HashMap::new(),
            log: VecDeque::new(),
            log_after: committed,
            users: HashMap::new(),
            devices: HashMap::new(),
            device_lists: VecDeque::new(),
            device_lists_after: committed,
        }))
    }

    /// Whether everything after `since` is known here.
    pub fn reaches(&self, since: Position) -> bool {
        since >= self.read().complete_after
    }

    /// The rooms, of those that `is_mine` accepts, with an event or a receipt after `since`. `mine` walks all that it
    /// accepts: used when more happened than the user has rooms.
    pub fn rooms_changed<I: Iterator<Item = RoomNid>>(
        &self,
        since: Position,
        is_mine: impl Fn(RoomNid) -> bool,
        mine: impl Fn() -> I,
    ) -> Known<Vec<RoomNid>> {
        let inner = self.read();
        if since < inner.complete_after {
            return Known::No;
        }
        let start = inner.log.partition_point(|(position, _)| *position <= since);
        let missed = inner.log.len() - start;
        if since >= inner.log_after && (missed <= FEW || missed <= mine().count() * 4) {
            let mut rooms: Vec<RoomNid> =
                inner.log.range(start..).map(|(_, room)| *room).filter(|room| is_mine(*room)).collect();
            rooms.sort_unstable();
            rooms.dedup();
            return Known::Yes(rooms);
        }
        let changed = |room: &RoomNid| {
            inner.rooms.get(room).is_some_and(|positions| positions.event.max(positions.receipt) > since)
        };
        Known::Yes(mine().filter(changed).collect())
    }

    /// When a room last changed; zeros for a room that has not since memory began.
    pub fn room(&self, room: RoomNid) -> RoomPositions {
        self.read().rooms.get(&room).copied().unwrap_or_default()
    }

    /// Whether account data of a user was written after `since`.
    pub fn account_data_changed(&self, user: &UserId, since: Position) -> Known<bool> {
        let inner = self.read();
        inner.later(inner.users.get(user).map(|user| user.account_data), since)
    }

    /// Whether a membership of a user changed after `since`.
    pub fn membership_changed(&self, user: &UserId, since: Position) -> Known<bool> {
        let inner = self.read();
        inner.later(inner.users.get(user).map(|user| user.membership), since)
    }

    /// Whether messages for a device arrived after `since`.
    pub fn to_device_changed(&self, user: &UserId, device: &str, since: Position) -> Known<bool> {
        let inner = self.read();
        inner.later(inner.device(user, device).map(|device| device.newest), since)
    }

    /// Whether the one-time or fallback keys of a device changed after `since`.
    pub fn device_keys_changed(&self, user: &UserId, device: &str, since: Position) -> Known<bool> {
        let inner = self.read();
        inner.later(inner.device(user, device).map(|device| device.keys), since)
    }

    /// Whether messages at or before `upto` may still be stored for a device.
    pub fn to_device_uncleared(&self, user: &UserId, device: &str, upto: Position) -> bool {
        let inner = self.read();
        let messages = inner.device(user, device).unwrap_or_default();
        match messages.cleared {
            // Not looked at since the start: there may be some from before it.
            0 => true,
            cleared => messages.newest > cleared && upto > cleared,
        }
    }

    /// Remembers that the messages for a device at or before `upto` have been deleted.
    pub fn to_device_cleared(&self, user: &UserId, device: &str, upto: Position) {
        let mut inner = self.0.write();
        let messages = inner.device_mut(user, device);
        messages.cleared = messages.cleared.max(upto);
    }

    /// The users whose device lists changed for `viewer` after `since` and at or before `upto`.
    pub fn device_lists(&self, viewer: &UserId, since: Position, upto: Position) -> Known<Vec<UserId>> {
        let inner = self.read();
        if since < inner.device_lists_after {
            return Known::No;
        }
        let start = inner.device_lists.partition_point(|change| change.position <= since);
        let changes = inner.device_lists.range(start..).take_while(|change| change.position <= upto);
        let seen = changes.filter(|change| !change.private || change.user == *viewer);
        Known::Yes(seen.map(|change| change.user.clone()).collect())
    }

    pub(super) fn apply(&self, changes: &[Change]) {
        let mut inner = self.0.write();
        inner.bound();
        changes.iter().for_each(|change| inner.apply(change));
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read()
    }
}

impl Inner {
    fn apply(&mut self, change: &Change) {
        self.newest = self.newest.max(change.position());
        match change {
            Change::Event { room, position, .. } => {
                self.rooms.entry(*room).or_default().event = *position;
                self.log_room(*position, *room);
            }
            Change::Receipt { room, position, .. } => {
                self.rooms.entry(*room).or_default().receipt = *position;
                self.log_room(*position, *room);
            }
            Change::Membership { user, position, .. } => self.user_mut(user).membership = *position,
            Change::AccountData { user, position, .. } => self.user_mut(user).account_data = *position,
            Change::ToDevice { user, device, position } => self.device_mut(user, device).newest = *position,
            Change::OneTimeKeys { user, device, position } => self.device_mut(user, device).keys = *position,
            Change::FederationToDevice { .. } => {}
            Change::DeviceList { user, private, position } => {
                if self.device_lists.len() == LOGGED
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
        if self.log.len() == LOGGED
            && let Some((position, _)) = self.log.pop_front()
        {
            self.log_after = position;
        }
        self.log.push_back((position, room));
    }

    fn later(&self, changed: Option<Position>, since: Position) -> Known<bool> {
        match changed {
            Some(position) if position > since => Known::Yes(true),
            _ if since >= self.complete_after => Known::Yes(false),
            _ => Known::No,
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

    /// Starts afresh when there is too much: everything up to now is then asked of the database.
    fn bound(&mut self) {
        if self.rooms.len().max(self.users.len()).max(self.devices.len()) > KEPT {
            self.rooms.clear();
            self.users.clear();
            self.devices.clear();
            self.complete_after = self.newest;
        }
    }
}

#[cfg(test)]
mod tests;
