//! Every request of the server-server API that this server sends, under ruma's module paths: a function `call` for each
//! endpoint, with the bounds of its response beside it.
//!
//! [`ENDPOINTS`] lists them all.

pub mod authenticated_media;
pub mod authorization;
pub mod backfill;
pub mod device;
pub mod directory;
pub mod discovery;
mod endpoint;
pub mod event;
pub mod keys;
pub mod media;
pub mod membership;
pub mod policy;
pub mod query;
pub mod room;
pub mod space;
pub mod thirdparty;
pub mod transactions;

use std::time::Duration;

use serde_json::value::RawValue;

pub use endpoint::Endpoint;

/// An event as another server sends it, not yet parsed.
pub type RawPdu = Box<RawValue>;

/// Every endpoint that is called.
pub const ENDPOINTS: &[Endpoint] = &[
    authenticated_media::get_content::ENDPOINT,
    authorization::get_event_authorization::ENDPOINT,
    backfill::get_backfill::ENDPOINT,
    device::get_devices::ENDPOINT,
    directory::get_public_rooms::ENDPOINT,
    directory::get_public_rooms_filtered::ENDPOINT,
    discovery::get_remote_server_keys_batch::ENDPOINT,
    discovery::get_server_keys::ENDPOINT,
    event::get_event::ENDPOINT,
    event::get_event_by_timestamp::ENDPOINT,
    event::get_missing_events::ENDPOINT,
    event::get_room_state::ENDPOINT,
    event::get_room_state_ids::ENDPOINT,
    keys::claim_keys::ENDPOINT,
    keys::get_keys::ENDPOINT,
    media::get_content::ENDPOINT,
    membership::create_invite::v1::ENDPOINT,
    membership::create_invite::v2::ENDPOINT,
    membership::create_join_event::v1::ENDPOINT,
    membership::create_join_event::v2::ENDPOINT,
    membership::create_knock_event::ENDPOINT,
    membership::create_leave_event::v1::ENDPOINT,
    membership::create_leave_event::v2::ENDPOINT,
    membership::prepare_join_event::ENDPOINT,
    membership::prepare_knock_event::ENDPOINT,
    membership::prepare_leave_event::ENDPOINT,
    policy::sign_event::ENDPOINT,
    query::get_profile_information::ENDPOINT,
    query::get_room_information::ENDPOINT,
    room::get_room_complexity::ENDPOINT,
    space::get_hierarchy::ENDPOINT,
    thirdparty::exchange_invite::ENDPOINT,
    transactions::send_transaction_message::ENDPOINT,
];

/// The most stripped state events that describe a room.
const MAX_STRIPPED_EVENTS: u32 = 100;
/// The largest response that is one event, or little more, in bytes.
const MAX_EVENT_BYTES: usize = 512 * 1024;
/// The largest response that has nothing in it, or a few signatures, in bytes.
const MAX_SHORT_RESPONSE_BYTES: usize = 64 * 1024;
/// The largest room that is joined, in bytes of its state and auth chain.
const MAX_STATE_BYTES: usize = 500 * 1024 * 1024;
/// How long the state of a large room may take.
const STATE_TIMEOUT: Duration = Duration::from_secs(300);

/// The largest response of `count` events, in bytes.
const fn max_bytes_of_pdus(count: u32) -> usize {
    (count as usize + 1) * 70_000
}
