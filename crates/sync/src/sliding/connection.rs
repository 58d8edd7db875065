//! What a connection has been sent.

mod pack;

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_rooms::SortedSet;
use plexus_store::{EventNid, Position, RoomNid};

use super::required_state::RequiredState;
use crate::delta::ProfileFields;

pub(super) use pack::{pack, unpack};

/// The most different required states that are kept for the rooms of a connection; above it those of all rooms are
/// forgotten, and their events sent again.
/// As many as a request may have: each of its subscriptions can be of its own.
const MAX_CONFIGS: usize = 1_100;
/// The most bytes of these required states together: every response that changes something stores them.
const MAX_CONFIG_BYTES: usize = 64 * 1024;
/// The most members of a room that are kept; above it they are forgotten, and sent again.
const MAX_MEMBERS_OF_ROOM: usize = 200;
/// The most members of all rooms of a connection together, for the same reason.
const MAX_MEMBERS: usize = 20_000;

/// How much of something in a room a client has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing.
    #[default]
    Never,
    /// Everything at or before the position of the response that leads to this state.
    Live,
    /// Everything at or before a position; there is more.
    Upto(Position),
}

/// What a connection has been sent of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SentRoom {
    pub nid: RoomNid,
    /// The room itself: its timeline, state and name.
    pub room: Progress,
    pub receipts: Progress,
    pub account_data: Progress,
    /// The client has at least so many of the newest events, if there are as many.
    pub timeline_limit: u32,
    /// Index of the required state that the client has; `None`: none is known.
    pub config: Option<u16>,
    pub is_dm: bool,
    /// The member events that were sent because the timeline was about the members; sorted.
    pub members: Arc<[EventNid]>,
}

/// What a connection has been sent, as of one of its positions. A value; see [`super::connections`] for its owner.
#[derive(Debug, Clone, Default)]
pub(super) struct SentState {
    rooms: SortedSet<SentRoom>,
    configs: Arc<Vec<Arc<RequiredState>>>,
    /// How many members are kept in all rooms together.
    members: usize,
    /// Whether the client has the global account data.
    pub has_account_data: bool,
    /// The fields of profiles that the client has.
    pub profiles: ProfileFields,
    /// The rooms with sticky events among those that it got sticky events of; `None`: not known.
    pub sticky_rooms: Option<Arc<BTreeSet<RoomNid>>>,
}

impl Progress {
    /// Returns the position up to which the client has everything, where live rooms were sent up to `from`.
    pub(super) fn since(self, from: Position) -> Option<Position> {
        match self {
            Self::Never => None,
            Self::Live => Some(from),
            Self::Upto(position) => Some(position),
        }
    }
}

impl SentRoom {
    pub(super) fn new(nid: RoomNid) -> Self {
        Self { nid, ..Self::default() }
    }

    /// Whether the client has a member event.
    pub(super) fn has_member(&self, event: EventNid) -> bool {
        self.members.binary_search(&event).is_ok()
    }
}

impl SentState {
    /// Returns what was sent of a room, if anything was.
    pub(super) fn room(&self, nid: RoomNid) -> Option<&SentRoom> {
        self.rooms.find(|room| room.nid.cmp(&nid))
    }

    /// Iterates over all rooms of which something was sent.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &SentRoom> + Clone {
        self.rooms.iter()
    }

    /// Replaces what was sent of a room.
    pub(super) fn set(&mut self, room: SentRoom) {
        let (nid, members) = (room.nid, room.members.len());
        let replaced = self.rooms.insert(room, |other| other.nid.cmp(&nid));
        self.members = (self.members + members).saturating_sub(replaced.map_or(0, |room| room.members.len()));
        if self.members > MAX_MEMBERS {
            self.update_all(|room| room.members = Arc::default());
            self.members = 0;
        }
    }

    /// Forgets a room: when it comes again it is sent as a whole.
    pub(super) fn remove(&mut self, nid: RoomNid) {
        if let Some(room) = self.rooms.remove(|room| room.nid.cmp(&nid)) {
            self.members = self.members.saturating_sub(room.members.len());
        }
    }

    /// Returns the required state that the client has of a room.
    pub(super) fn config(&self, room: &SentRoom) -> Option<&Arc<RequiredState>> {
        self.configs.get(usize::from(room.config?))
    }

    /// Sets the required state that the client has of a room. The room has yet to be set.
    pub(super) fn set_config(&mut self, room: &mut SentRoom, config: &Arc<RequiredState>) {
        let at = self.configs.iter().position(|other| Arc::ptr_eq(other, config) || other == config);
        let at = at.unwrap_or_else(|| {
            let is_full = |state: &Self| {
                state.configs.len() >= MAX_CONFIGS || state.config_bytes() + config.bytes() > MAX_CONFIG_BYTES
            };
            if is_full(self) {
                self.drop_unused_configs();
            }
            if is_full(self) {
                self.update_all(|room| room.config = None);
                self.configs = Arc::default();
            }
            Arc::make_mut(&mut self.configs).push(Arc::clone(config));
            self.configs.len() - 1
        });
        room.config = u16::try_from(at).ok();
    }

    fn config_bytes(&self) -> usize {
        self.configs.iter().map(|config| config.bytes()).sum()
    }

    fn drop_unused_configs(&mut self) {
        let used: BTreeSet<u16> = self.rooms.iter().filter_map(|room| room.config).collect();
        let kept = used.iter().filter_map(|at| self.configs.get(usize::from(*at))).cloned().collect();
        let moved: Vec<u16> = used.into_iter().collect();
        self.update_all(|room| {
            let at = room.config.and_then(|at| moved.binary_search(&at).ok());
            room.config = at.and_then(|at| u16::try_from(at).ok());
        });
        self.configs = Arc::new(kept);
    }

    fn update_all(&mut self, update: impl Fn(&mut SentRoom)) {
        let mut rooms: Vec<SentRoom> = self.rooms.iter().cloned().collect();
        rooms.iter_mut().for_each(update);
        for room in rooms {
            let nid = room.nid;
            self.rooms.insert(room, |other| other.nid.cmp(&nid));
        }
    }

    /// About how much memory this needs, in units of a room.
    pub(super) fn weight(&self) -> u64 {
        let sticky = self.sticky_rooms.as_ref().map_or(0, |rooms| rooms.len());
        1 + self.rooms.len() as u64 + (self.members + sticky) as u64 / 8 + self.config_bytes() as u64 / 64
    }
}

/// Whether a connection can keep these required states at the same time.
pub(super) fn can_keep<'c>(configs: impl Iterator<Item = &'c Arc<RequiredState>>) -> bool {
    let (mut found, mut bytes): (Vec<&Arc<RequiredState>>, usize) = (Vec::new(), 0);
    for config in configs {
        if found.iter().any(|other| Arc::ptr_eq(other, config) || *other == config) {
            continue;
        }
        found.push(config);
        bytes += config.bytes();
        if found.len() >= MAX_CONFIGS || bytes > MAX_CONFIG_BYTES {
            return false;
        }
    }
    true
}

/// Adds member events to those that a client has of a room.
pub(super) fn add_members(room: &mut SentRoom, new: impl IntoIterator<Item = EventNid>) {
    let mut members: BTreeSet<EventNid> = new.into_iter().collect();
    if members.iter().all(|event| room.has_member(*event)) {
        return;
    }
    if members.len() + room.members.len() <= MAX_MEMBERS_OF_ROOM {
        members.extend(room.members.iter());
    }
    room.members = members.into_iter().take(MAX_MEMBERS_OF_ROOM).collect();
}

#[cfg(test)]
mod tests;
