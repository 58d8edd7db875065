//! Rooms in memory.

pub(crate) mod auth_index;
pub(crate) mod cache_size;
pub(crate) mod current_state;
pub(crate) mod direction;
pub(crate) mod event_cache;
pub(crate) mod event_lookup;
pub(crate) mod gaps;
pub(crate) mod graph_tip;
pub(crate) mod head;
pub(crate) mod heroes;
pub(crate) mod interner;
pub(crate) mod load;
pub(crate) mod memberships;
pub(crate) mod nids;
pub(crate) mod registry;
pub(crate) mod room;
pub(crate) mod servers;
pub(crate) mod sorted;
pub(crate) mod state_at;
pub(crate) mod state_map;
pub(crate) mod stored_events;
pub(crate) mod timeline_event;
