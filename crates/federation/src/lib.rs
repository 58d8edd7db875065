//! The federation of rooms: receives events of other servers and serves their requests.
//!
//! [`PduReceiver`] adds the events of other servers to rooms, one step a file in `receive`; [`inbox`] stages the events
//! of transactions until they are added. [`serve`] has the requests of other servers about rooms.
//! [`RemoteMembershipChanger`] joins, knocks and leaves through other servers, and [`PartialStateResync`] fetches the
//! state that such a join left out. [`peers`] lists all requests about rooms to other
//! servers.

#![warn(missing_docs, unreachable_pub)]

pub mod inbox;
mod membership;
mod partial_state;
pub mod peers;
mod receive;
pub mod serve;

pub use membership::RemoteMembershipChanger;
pub use partial_state::PartialStateResync;
pub use plexus_rooms::write::backfill::BackfillOutcome;
pub use receive::{PduReceiver, PduReceiverParts, ReceiveError, receive_invite};
