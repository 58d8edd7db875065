//! The server-server API.

mod asking;
pub(crate) mod away;
mod crowd;
mod delivery;
mod device_lists;
mod discovery;
mod edus;
mod every_endpoint;
mod gaps;
mod media;
mod queries;
mod spaces;
