//! Rooms in memory.

pub mod auth_index;
pub mod cache_size;
pub mod current_state;
pub mod direction;
pub mod erased_users;
pub mod event_cache;
pub mod event_lookup;
pub mod gaps;
pub mod graph_tip;
pub mod head;
pub mod heroes;
pub mod interner;
pub mod limits;
pub mod load;
pub mod memberships;
pub mod nids;
pub mod partial_state;
pub mod profile_cache;
pub mod room;
pub mod rooms;
pub mod servers;
pub mod sorted;
pub mod state_at;
pub mod state_map;
pub mod stored_events;
pub mod timeline_event;
