//! Every route of the server-server API: those for everybody, and those for other servers.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef as _;
use axum::middleware::from_fn_with_state;
use plexus_http::body::MAX_JSON_BYTES;
use plexus_http::{BodyReader, Client, Federation, Routes, SignedRequests, signed};

use crate::discovery::{
    discover_homeserver, get_remote_server_keys, get_remote_server_keys_batch, get_server_keys, get_server_version,
};
use crate::{
    Api, authenticated_media, authorization, backfill, device, directory, event, keys, membership, openid, policy,
    query, room, space, thirdparty, transactions,
};

const KIB: usize = 1024;

/// One event, which has at most 64 KiB in its canonical form, but may be sent with escapes.
const EVENT: usize = 256 * KIB;
/// An invite: its event, and the stripped state of the room, which may be whole events.
const INVITE: usize = 1024 * KIB;
/// The ids of a few thousand events.
const EVENT_IDS: usize = 256 * KIB;
/// The devices of some ten thousand users.
const USERS: usize = 1024 * KIB;

/// Returns the routes for everybody, without a signature.
pub fn open() -> Routes<Api> {
    let mut r = Routes::new();
    r.get(Client::FULL, "/.well-known/matrix/server", discover_homeserver::handle);
    r.get(Federation::V1, "/version", get_server_version::handle);
    r.get(Federation::V1, "/openid/userinfo", openid::get_openid_userinfo::handle);
    r.put(Federation::V1, "/3pid/onbind", thirdparty::bind_callback::handle);
    // Old servers request one key by its id, and get all (key ids in the path are deprecated).
    for path in ["/server", "/server/", "/server/{key_id}"] {
        r.get(Federation::KEYS, path, get_server_keys::handle);
    }
    r.get(Federation::KEYS, "/query/{server_name}", get_remote_server_keys::handle);
    r.post(Federation::KEYS, "/query", get_remote_server_keys_batch::handle);
    r
}

/// Returns the routes for other servers: every request is signed.
pub fn for_servers() -> Routes<Api> {
    let mut routes = Routes::new();
    rooms(&mut routes);
    handshakes(&mut routes);
    queries(&mut routes);
    users(&mut routes);
    media(&mut routes);
    routes
}

fn rooms(r: &mut Routes<Api>) {
    r.post(Client::FULL, "/_matrix/policy/v1/sign", policy::sign_event::v1::handle).body_up_to(EVENT);
    r.put(Federation::V1, "/send/{txn_id}", transactions::send_transaction_message::handle).body_up_to(MAX_JSON_BYTES);
    r.get(Federation::V1, "/event/{event_id}", event::get_event::handle);
    r.get(Federation::V1, "/state/{room_id}", event::get_room_state::handle);
    r.get(Federation::V1, "/state_ids/{room_id}", event::get_room_state_ids::handle);
    r.get(Federation::V1, "/event_auth/{room_id}/{event_id}", authorization::get_event_authorization::handle);
    r.get(Federation::V1, "/backfill/{room_id}", backfill::get_backfill::handle);
    r.post(Federation::V1, "/get_missing_events/{room_id}", event::get_missing_events::handle).body_up_to(EVENT_IDS);
    r.get(Federation::V1, "/timestamp_to_event/{room_id}", event::get_event_by_timestamp::v1::handle);
    r.get(Federation::V1, "/hierarchy/{room_id}", space::get_hierarchy::v1::handle);
    r.get(Federation::UNSTABLE, "/rooms/{room_id}/complexity", room::get_room_complexity::handle);
}

fn handshakes(r: &mut Routes<Api>) {
    r.get(Federation::V1, "/make_join/{room_id}/{user_id}", membership::prepare_join_event::handle);
    r.get(Federation::V1, "/make_leave/{room_id}/{user_id}", membership::prepare_leave_event::handle);
    r.get(Federation::V1, "/make_knock/{room_id}/{user_id}", membership::prepare_knock_event::v1::handle);
    r.put(Federation::V2, "/send_join/{room_id}/{event_id}", membership::create_join_event::v2::handle)
        .body_up_to(EVENT);
    r.put(Federation::V2, "/send_leave/{room_id}/{event_id}", membership::create_leave_event::v2::handle)
        .body_up_to(EVENT);
    r.put(Federation::V1, "/send_join/{room_id}/{event_id}", membership::create_join_event::v1::handle)
        .body_up_to(EVENT);
    r.put(Federation::V1, "/send_leave/{room_id}/{event_id}", membership::create_leave_event::v1::handle)
        .body_up_to(EVENT);
    r.put(Federation::V1, "/send_knock/{room_id}/{event_id}", membership::create_knock_event::v1::handle)
        .body_up_to(EVENT);
    r.put(Federation::V1, "/invite/{room_id}/{event_id}", membership::create_invite::v1::handle).body_up_to(INVITE);
    r.put(Federation::V2, "/invite/{room_id}/{event_id}", membership::create_invite::v2::handle).body_up_to(INVITE);
    r.put(Federation::V1, "/exchange_third_party_invite/{room_id}", thirdparty::exchange_invite::handle)
        .body_up_to(EVENT);
}

fn queries(r: &mut Routes<Api>) {
    r.get(Federation::V1, "/query/profile", query::get_profile_information::handle);
    r.get(Federation::V1, "/query/directory", query::get_room_information::handle);
    r.get(Federation::V1, "/query/{query_type}", query::get_custom_information::handle);
    r.get(Federation::V1, "/publicRooms", directory::get_public_rooms::handle);
    r.post(Federation::V1, "/publicRooms", directory::get_public_rooms_filtered::handle);
}

fn users(r: &mut Routes<Api>) {
    r.get(Federation::V1, "/user/devices/{user_id}", device::get_devices::handle);
    r.post(Federation::V1, "/user/keys/query", keys::get_keys::handle).body_up_to(USERS);
    r.post(Federation::V1, "/user/keys/claim", keys::claim_keys::handle).body_up_to(USERS);
}

fn media(r: &mut Routes<Api>) {
    r.get(Federation::V1, "/media/download/{media_id}", authenticated_media::get_content::handle);
    r.get(Federation::V1, "/media/thumbnail/{media_id}", authenticated_media::get_content_thumbnail::handle);
}

/// Returns the router of the API, with its services; `body_reader` reads bodies.
pub fn router(api: Api, body_reader: &Arc<BodyReader>) -> Router {
    let signed_requests = Arc::<SignedRequests>::from_ref(&api);
    let for_servers = for_servers()
        .wrapped(|route| route.route_layer(from_fn_with_state(Arc::clone(&signed_requests), signed)))
        .build(api.clone(), body_reader);
    open().build(api, body_reader).merge(for_servers)
}
