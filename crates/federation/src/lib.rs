//! Rooms as they are shared with other servers: their events received, and their questions answered.
//!
//! [`PduReceiver`] adds the events of other servers to rooms, one step a file in `receive`; [`inbox`] holds what
//! transactions bring until it has been received. [`serve`] answers what other servers ask about rooms.
//! [`RemoteMembershipChanger`] joins, knocks and leaves through other servers, and [`PartialStateResync`] fetches the
//! state that such a join left out. [`peers`] is all that is asked of other servers.

pub mod inbox;
mod membership;
mod partial_state;
pub mod peers;
mod receive;
pub mod serve;

pub use membership::RemoteMembershipChanger;
pub use partial_state::PartialStateResync;
pub use plexus_rooms::write::past::Filled;
pub use receive::{PduReceiver, ReceiveError};
