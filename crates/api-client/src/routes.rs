//! Every route of the client-server API, grouped as the endpoints' folders are.

use plexus_http::body::MAX_JSON_BYTES;
use plexus_http::{Client, Prefixes, Routes};

use crate::discovery::{
    discover_homeserver, discover_policy_server, discover_support, federation_whitelist, get_capabilities,
    get_supported_versions,
};
use crate::{Api, favicon, rtc, thirdparty, voip, welcome};
use crate::{
    account, admin, appservice, authenticated_media, backup, dehydrated_device, device, keys, media, session, uiaa,
};
use crate::{
    alias, context, delayed_events, directory, knock, membership, message, profile, redact, relations, reporting, room,
    space,
};
use crate::{config, filter, peeking, presence, push, read_marker, receipt, sync, tag, to_device, typing};
use crate::{rendezvous, search, state, threads, user_directory};

const KIB: usize = 1024;

/// Requests that hold one event, or something of that size: at most 64 KiB in canonical form, but escapes may take up
/// to three times as much.
const EVENT: usize = 256 * KIB;
/// The keys of a device, lists of some ten thousand users or devices, account data, the initial state of a room.
const LARGE: usize = 1024 * KIB;
/// Messages to some thousand devices; clients send to some hundred at once.
const TO_DEVICE: usize = 4 * 1024 * KIB;

/// Returns the list of routes; `build` it with [`Api`].
pub fn routes() -> Routes<Api> {
    let mut routes = Routes::new();
    discovery(&mut routes);
    registration(&mut routes);
    account_routes(&mut routes);
    sessions(&mut routes);
    rendezvous_routes(&mut routes);
    administration(&mut routes);
    key_routes(&mut routes);
    key_backup(&mut routes);
    media_routes(&mut routes);
    rooms(&mut routes);
    room_members(&mut routes);
    room_events(&mut routes);
    delayed_event_routes(&mut routes);
    room_addresses(&mut routes);
    profiles(&mut routes);
    syncing(&mut routes);
    account_data(&mut routes);
    ephemeral(&mut routes);
    third_party_networks(&mut routes);
    pushing(&mut routes);
    routes
}

fn discovery(r: &mut Routes<Api>) {
    r.get(Client::ROOT, "/versions", get_supported_versions::handle);
    r.get(Client::V3R0, "/capabilities", get_capabilities::handle);
    r.get(ALL, "/voip/turnServer", voip::get_turn_server_info::handle);
    r.get(Client::V1, "/rtc/transports", rtc::transports::handle);
    r.get(Client::UNSTABLE, "/org.matrix.msc4143/rtc/transports", rtc::transports::unstable);
    let whitelist = "/_synapse/client/v1/config/federation_whitelist";
    r.get(Client::FULL, whitelist, federation_whitelist::handle);
    r.get(Client::FULL, "/.well-known/matrix/client", discover_homeserver::handle);
    r.get(Client::FULL, "/.well-known/matrix/policy_server", discover_policy_server::handle);
    r.get(Client::FULL, "/.well-known/matrix/support", discover_support::handle);
    r.get(Client::FULL, "/", welcome::handle);
    r.get(Client::FULL, "/favicon.ico", favicon::handle);
    for path in ["/_matrix/static/client/login/", "/_matrix/static/client/login"] {
        r.get(Client::FULL, path, session::login_fallback::handle);
    }
}

fn media_routes(r: &mut Routes<Api>) {
    r.post(Client::MEDIA_V1, "/create", media::create_mxc_uri::handle);
    r.post(Client::MEDIA, "/upload", media::create_content::handle).body_streamed();
    r.put(Client::MEDIA, "/upload/{server_name}/{media_id}", media::create_content_async::handle).body_streamed();
    r.get(Client::MEDIA, "/config", media::get_media_config::handle);
    r.get(Client::MEDIA, "/preview_url", media::get_media_preview::handle);
    r.get(Client::MEDIA, "/download/{server_name}/{media_id}", media::get_content::handle);
    r.get(Client::MEDIA, "/download/{server_name}/{media_id}/{file_name}", media::get_content_as_filename::handle);
    r.get(Client::MEDIA, "/thumbnail/{server_name}/{media_id}", media::get_content_thumbnail::handle);
    r.get(Client::V1, "/media/config", authenticated_media::get_media_config::handle);
    r.get(Client::V1, "/media/preview_url", authenticated_media::get_media_preview::handle);
    r.get(Client::V1, "/media/download/{server_name}/{media_id}", authenticated_media::get_content::handle);
    r.get(
        Client::V1,
        "/media/download/{server_name}/{media_id}/{file_name}",
        authenticated_media::get_content_as_filename::handle,
    );
    r.get(Client::V1, "/media/thumbnail/{server_name}/{media_id}", authenticated_media::get_content_thumbnail::handle);
}

const ALL: Prefixes = Client::V3R0_UNSTABLE;

fn registration(r: &mut Routes<Api>) {
    r.post(ALL, "/register", account::register::handle);
    r.get(ALL, "/register/available", account::get_username_availability::handle);
    r.post(ALL, "/register/email/requestToken", account::request_registration_token_via_email::handle);
    r.post(ALL, "/register/msisdn/requestToken", account::request_registration_token_via_msisdn::handle);
    r.get(
        Client::V1,
        "/register/m.login.registration_token/validity",
        account::check_registration_token_validity::handle,
    );
    r.get(ALL, "/auth/{auth_type}/fallback/web", uiaa::get_uiaa_fallback_page::handle);
    r.post(ALL, "/auth/{auth_type}/fallback/web", uiaa::get_uiaa_fallback_page::submit);
    r.get(ALL, "/password_policy", account::password_policy::handle);
}

fn account_routes(r: &mut Routes<Api>) {
    r.get(ALL, "/account/whoami", account::whoami::handle);
    r.post(ALL, "/account/password", account::change_password::handle);
    r.post(ALL, "/account/password/email/requestToken", account::request_password_change_token_via_email::handle);
    r.post(ALL, "/account/password/msisdn/requestToken", account::request_password_change_token_via_msisdn::handle);
    r.post(ALL, "/account/deactivate", account::deactivate::handle);
    r.get(ALL, "/account/3pid", account::get_3pids::handle);
    r.post(ALL, "/account/3pid", account::add_3pid::handle);
    r.post(ALL, "/account/3pid/add", account::add_3pid::handle);
    r.post(ALL, "/account/3pid/delete", account::delete_3pid::handle);
    r.post(ALL, "/account/3pid/unbind", account::unbind_3pid::handle);
    r.post(ALL, "/account/3pid/email/requestToken", account::request_3pid_management_token_via_email::handle);
    r.get(Client::UNSTABLE, "/add_threepid/email/submit_token", account::submit_3pid_token::handle);
    r.post(ALL, "/account/3pid/msisdn/requestToken", account::request_3pid_management_token_via_msisdn::handle);
    r.post(ALL, "/user/{user_id}/openid/request_token", account::request_openid_token::handle);
}

fn sessions(r: &mut Routes<Api>) {
    r.get(ALL, "/login", session::get_login_types::handle);
    r.post(ALL, "/login", session::login::handle);
    r.post(Client::V1, "/login/get_token", session::get_login_token::handle);
    r.post(ALL, "/logout", session::logout::handle);
    r.post(ALL, "/logout/all", session::logout_all::handle);
    r.post(ALL, "/refresh", session::refresh_token::handle);
    r.get(ALL, "/devices", device::get_devices::handle);
    r.get(ALL, "/devices/{device_id}", device::get_device::handle);
    r.put(ALL, "/devices/{device_id}", device::update_device::handle);
    r.delete(ALL, "/devices/{device_id}", device::delete_device::handle);
    r.post(ALL, "/delete_devices", device::delete_devices::handle);
    let dehydrated = "/org.matrix.msc3814.v1/dehydrated_device";
    r.get(Client::UNSTABLE, dehydrated, dehydrated_device::get_dehydrated_device::handle);
    r.put(Client::UNSTABLE, dehydrated, dehydrated_device::put_dehydrated_device::handle).body_up_to(LARGE);
    r.delete(Client::UNSTABLE, dehydrated, dehydrated_device::delete_dehydrated_device::handle);
    let events = "/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events";
    r.get(Client::UNSTABLE, events, dehydrated_device::get_events::handle);
    r.post(Client::UNSTABLE, events, dehydrated_device::get_events::by_body);
}

fn rendezvous_routes(r: &mut Routes<Api>) {
    let all = "/io.element.msc4388/rendezvous";
    r.get(Client::UNSTABLE, all, rendezvous::discover_rendezvous::handle);
    r.post(Client::UNSTABLE, all, rendezvous::create_rendezvous_session::handle);
    let one = "/io.element.msc4388/rendezvous/{id}";
    r.get(Client::UNSTABLE, one, rendezvous::get_rendezvous_session::handle);
    r.put(Client::UNSTABLE, one, rendezvous::update_rendezvous_session::without_transaction);
    r.delete(Client::UNSTABLE, one, rendezvous::delete_rendezvous_session::handle);
    let transaction = "/io.element.msc4388/rendezvous/{id}/{txn_id}";
    r.put(Client::UNSTABLE, transaction, rendezvous::update_rendezvous_session::handle);
    let all = "/org.matrix.msc4108/rendezvous";
    r.post(Client::UNSTABLE, all, rendezvous::create_rendezvous_session::msc4108);
    let one = "/org.matrix.msc4108/rendezvous/{id}";
    r.get(Client::UNSTABLE, one, rendezvous::get_rendezvous_session::msc4108);
    r.put(Client::UNSTABLE, one, rendezvous::update_rendezvous_session::msc4108);
    r.delete(Client::UNSTABLE, one, rendezvous::delete_rendezvous_session::msc4108);
}

fn administration(r: &mut Routes<Api>) {
    r.get(Client::V1, "/admin/lock/{user_id}", admin::is_user_locked::handle);
    r.put(Client::V1, "/admin/lock/{user_id}", admin::lock_user::handle);
    r.get(Client::V1, "/admin/suspend/{user_id}", admin::is_user_suspended::handle);
    r.put(Client::V1, "/admin/suspend/{user_id}", admin::suspend_user::handle);
    r.get(ALL, "/admin/whois/{user_id}", admin::get_user_info::handle);
}

fn key_routes(r: &mut Routes<Api>) {
    r.post(ALL, "/keys/upload", keys::upload_keys::handle).body_up_to(LARGE);
    // Before Matrix 1.1 the path named the device; it is that of the token in any case.
    r.post(ALL, "/keys/upload/{device_id}", keys::upload_keys::handle).body_up_to(LARGE);
    r.post(ALL, "/keys/query", keys::get_keys::handle).body_up_to(LARGE);
    r.post(ALL, "/keys/claim", keys::claim_keys::handle).body_up_to(LARGE);
    r.get(ALL, "/keys/changes", keys::get_key_changes::handle);
    r.post(ALL, "/keys/device_signing/upload", keys::upload_signing_keys::handle).body_up_to(EVENT);
    r.post(ALL, "/keys/signatures/upload", keys::upload_signatures::handle).body_up_to(LARGE);
}

fn key_backup(r: &mut Routes<Api>) {
    r.post(ALL, "/room_keys/version", backup::create_backup_version::handle);
    r.get(ALL, "/room_keys/version", backup::get_latest_backup_info::handle);
    r.get(ALL, "/room_keys/version/{version}", backup::get_backup_info::handle);
    r.put(ALL, "/room_keys/version/{version}", backup::update_backup_version::handle);
    r.delete(ALL, "/room_keys/version/{version}", backup::delete_backup_version::handle);
    r.put(ALL, "/room_keys/keys", backup::add_backup_keys::handle).body_up_to(MAX_JSON_BYTES);
    r.get(ALL, "/room_keys/keys", backup::get_backup_keys::handle);
    r.delete(ALL, "/room_keys/keys", backup::delete_backup_keys::handle);
    r.put(ALL, "/room_keys/keys/{room_id}", backup::add_backup_keys_for_room::handle).body_up_to(MAX_JSON_BYTES);
    r.get(ALL, "/room_keys/keys/{room_id}", backup::get_backup_keys_for_room::handle);
    r.delete(ALL, "/room_keys/keys/{room_id}", backup::delete_backup_keys_for_room::handle);
    r.put(ALL, "/room_keys/keys/{room_id}/{session_id}", backup::add_backup_keys_for_session::handle).body_up_to(EVENT);
    r.get(ALL, "/room_keys/keys/{room_id}/{session_id}", backup::get_backup_keys_for_session::handle);
    r.delete(ALL, "/room_keys/keys/{room_id}/{session_id}", backup::delete_backup_keys_for_session::handle);
}

fn syncing(r: &mut Routes<Api>) {
    r.get(ALL, "/sync", sync::sync_events::v3::handle);
    r.get(ALL, "/initialSync", sync::initial_sync::handle);
    r.get(ALL, "/events", peeking::listen_to_new_events::handle);
    r.post(Client::V4, "/sync", sync::sync_events::v5::handle).body_up_to(EVENT);
    r.post(Client::UNSTABLE, "/org.matrix.simplified_msc3575/sync", sync::sync_events::v5::handle_unstable)
        .body_up_to(EVENT);
    r.post(ALL, "/user/{user_id}/filter", filter::create_filter::handle);
    r.get(ALL, "/user/{user_id}/filter/{filter_id}", filter::get_filter::handle);
    r.put(ALL, "/sendToDevice/{event_type}/{txn_id}", to_device::send_event_to_device::handle).body_up_to(TO_DEVICE);
}

fn account_data(r: &mut Routes<Api>) {
    let global = "/user/{user_id}/account_data/{event_type}";
    r.get(ALL, global, config::get_global_account_data::handle);
    r.put(ALL, global, config::set_global_account_data::handle).body_up_to(LARGE);
    let of_room = "/user/{user_id}/rooms/{room_id}/account_data/{event_type}";
    r.get(ALL, of_room, config::get_room_account_data::handle);
    r.put(ALL, of_room, config::set_room_account_data::handle).body_up_to(LARGE);
    let global = "/org.matrix.msc3391/user/{user_id}/account_data/{event_type}";
    r.delete(Client::UNSTABLE, global, config::delete_global_account_data::handle);
    let of_room = "/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{event_type}";
    r.delete(Client::UNSTABLE, of_room, config::delete_room_account_data::handle);
    r.get(ALL, "/user/{user_id}/rooms/{room_id}/tags", tag::get_tags::handle);
    r.put(ALL, "/user/{user_id}/rooms/{room_id}/tags/{tag}", tag::create_tag::handle);
    r.delete(ALL, "/user/{user_id}/rooms/{room_id}/tags/{tag}", tag::delete_tag::handle);
}

fn ephemeral(r: &mut Routes<Api>) {
    r.post(ALL, "/rooms/{room_id}/receipt/{receipt_type}/{event_id}", receipt::create_receipt::handle);
    r.post(ALL, "/rooms/{room_id}/read_markers", read_marker::set_read_marker::handle);
    r.put(ALL, "/rooms/{room_id}/typing/{user_id}", typing::create_typing_event::handle);
    r.get(ALL, "/presence/{user_id}/status", presence::get_presence::handle);
    r.put(ALL, "/presence/{user_id}/status", presence::set_presence::handle);
}

fn pushing(r: &mut Routes<Api>) {
    r.get(ALL, "/pushrules/", push::get_pushrules_all::handle);
    r.get(ALL, "/pushrules", push::get_pushrules_all::handle);
    r.get(ALL, "/pushrules/global/", push::get_pushrules_global_scope::handle);
    r.get(ALL, "/pushrules/global", push::get_pushrules_global_scope::handle);
    r.get(ALL, "/pushrules/global/{kind}/", push::get_pushrules_of_kind::handle);
    let rule = "/pushrules/global/{kind}/{rule_id}";
    r.get(ALL, rule, push::get_pushrule::handle);
    // As Synapse, with and without a slash at the end.
    for slash in ["", "/"] {
        r.put(ALL, &format!("{rule}{slash}"), push::set_pushrule::handle);
        r.delete(ALL, &format!("{rule}{slash}"), push::delete_pushrule::handle);
        r.get(ALL, &format!("{rule}/actions{slash}"), push::get_pushrule_actions::handle);
        r.put(ALL, &format!("{rule}/actions{slash}"), push::set_pushrule_actions::handle);
        r.get(ALL, &format!("{rule}/enabled{slash}"), push::get_pushrule_enabled::handle);
        r.put(ALL, &format!("{rule}/enabled{slash}"), push::set_pushrule_enabled::handle);
    }
    r.get(ALL, "/pushrules/{*path}", push::unrecognized_path::handle);
    for path in ["/pushrules/global/{kind}/", "/pushrules/{*path}"] {
        r.put(ALL, path, push::unrecognized_path::handle);
        r.delete(ALL, path, push::unrecognized_path::handle);
    }
    r.get(ALL, "/pushers", push::get_pushers::handle);
    r.post(ALL, "/pushers/set", push::set_pusher::handle);
    r.get(ALL, "/notifications", push::get_notifications::handle);
}

fn third_party_networks(r: &mut Routes<Api>) {
    r.post(Client::V1, "/appservice/{appservice_id}/ping", appservice::request_ping::handle);
    r.get(ALL, "/thirdparty/protocols", thirdparty::get_protocols::handle);
    r.get(ALL, "/thirdparty/protocol/{protocol}", thirdparty::get_protocol::handle);
    r.get(ALL, "/thirdparty/user", thirdparty::get_user_for_user_id::handle);
    r.get(ALL, "/thirdparty/user/{protocol}", thirdparty::get_user_for_protocol::handle);
    r.get(ALL, "/thirdparty/location", thirdparty::get_location_for_room_alias::handle);
    r.get(ALL, "/thirdparty/location/{protocol}", thirdparty::get_location_for_protocol::handle);
}

fn rooms(r: &mut Routes<Api>) {
    r.post(ALL, "/createRoom", room::create_room::handle).body_up_to(LARGE);
    r.post(ALL, "/rooms/{room_id}/upgrade", room::upgrade_room::handle);
    r.get(ALL, "/rooms/{room_id}/aliases", room::aliases::handle);
    r.get(Client::V1, "/room_summary/{room_id_or_alias}", room::get_summary::handle);
    r.get(Client::UNSTABLE, "/im.nheko.summary/rooms/{room_id_or_alias}/summary", room::get_summary::handle);
    r.get(Client::UNSTABLE, "/im.nheko.summary/summary/{room_id_or_alias}", room::get_summary::handle);
    r.get(Client::V1, "/rooms/{room_id}/hierarchy", space::get_hierarchy::handle);
    r.get(Client::UNSTABLE, "/org.matrix.msc2946/rooms/{room_id}/hierarchy", space::get_hierarchy::handle);
    r.post(ALL, "/rooms/{room_id}/report", room::report_room::handle);
    r.post(ALL, "/rooms/{room_id}/report/{event_id}", room::report_content::handle);
    r.post(ALL, "/users/{user_id}/report", reporting::report_user::handle);
}

fn room_members(r: &mut Routes<Api>) {
    r.post(ALL, "/join/{room_id_or_alias}", membership::join_room_by_id_or_alias::handle);
    r.post(ALL, "/knock/{room_id_or_alias}", knock::knock_room::handle);
    r.post(ALL, "/rooms/{room_id}/join", membership::join_room_by_id::handle);
    r.post(ALL, "/rooms/{room_id}/leave", membership::leave_room::handle);
    r.post(ALL, "/rooms/{room_id}/forget", membership::forget_room::handle);
    r.post(ALL, "/rooms/{room_id}/invite", membership::invite_user::handle);
    r.post(ALL, "/rooms/{room_id}/kick", membership::kick_user::handle);
    r.post(ALL, "/rooms/{room_id}/ban", membership::ban_user::handle);
    r.post(ALL, "/rooms/{room_id}/unban", membership::unban_user::handle);
    r.get(ALL, "/rooms/{room_id}/members", membership::get_member_events::handle);
    r.get(ALL, "/rooms/{room_id}/joined_members", membership::joined_members::handle);
    r.get(ALL, "/joined_rooms", membership::joined_rooms::handle);
    r.get(Client::V1, "/mutual_rooms", membership::mutual_rooms::handle);
    let unstable = "/uk.half-shot.msc2666/user/mutual_rooms";
    r.get(Client::UNSTABLE, unstable, membership::mutual_rooms::unstable);
}

fn room_events(r: &mut Routes<Api>) {
    r.put(ALL, "/rooms/{room_id}/send/{event_type}/{txn_id}", message::send_message_event::handle).body_up_to(EVENT);
    r.put(ALL, "/rooms/{room_id}/redact/{event_id}/{txn_id}", redact::redact_event::handle).body_up_to(EVENT);
    r.post(ALL, "/rooms/{room_id}/send/{event_type}", message::send_message_event::without_transaction)
        .body_up_to(EVENT);
    r.post(ALL, "/rooms/{room_id}/redact/{event_id}", redact::redact_event::without_transaction).body_up_to(EVENT);
    r.get(ALL, "/rooms/{room_id}/messages", message::get_message_events::handle);
    r.get(ALL, "/rooms/{room_id}/event/{event_id}", room::get_room_event::handle);
    r.get(ALL, "/events/{event_id}", room::get_event::handle);
    r.get(ALL, "/rooms/{room_id}/initialSync", peeking::get_current_state::handle);
    r.get(ALL, "/rooms/{room_id}/context/{event_id}", context::get_context::handle);
    r.get(ALL, "/rooms/{room_id}/state", state::get_state_events::handle);
    r.get(ALL, "/rooms/{room_id}/state/{event_type}/{state_key}", state::get_state_event_for_key::handle);
    r.put(ALL, "/rooms/{room_id}/state/{event_type}/{state_key}", state::send_state_event::handle).body_up_to(EVENT);
    // An empty state key may be left out, with or without its slash.
    for path in ["/rooms/{room_id}/state/{event_type}", "/rooms/{room_id}/state/{event_type}/"] {
        r.get(ALL, path, state::get_state_event_for_key::without_key);
        r.put(ALL, path, state::send_state_event::without_key).body_up_to(EVENT);
    }
    r.get(Client::V1, "/rooms/{room_id}/timestamp_to_event", room::get_event_by_timestamp::handle);
    r.get(Client::V1, "/rooms/{room_id}/threads", threads::get_threads::handle);
    let subscription = "/io.element.msc4306/rooms/{room_id}/thread/{root}/subscription";
    r.get(Client::UNSTABLE, subscription, threads::get_thread_subscription::handle);
    r.put(Client::UNSTABLE, subscription, threads::subscribe_thread::handle);
    r.delete(Client::UNSTABLE, subscription, threads::unsubscribe_thread::handle);
    let changes = "/io.element.msc4308/thread_subscriptions";
    r.get(Client::UNSTABLE, changes, threads::get_thread_subscriptions_changes::handle);
    for prefixes in [Client::V1, Client::UNSTABLE] {
        r.get(prefixes, "/rooms/{room_id}/relations/{event_id}", relations::get_relating_events::handle);
        r.get(
            prefixes,
            "/rooms/{room_id}/relations/{event_id}/{rel_type}",
            relations::get_relating_events_with_rel_type::handle,
        );
        r.get(
            prefixes,
            "/rooms/{room_id}/relations/{event_id}/{rel_type}/{event_type}",
            relations::get_relating_events_with_rel_type_and_event_type::handle,
        );
    }
}

fn delayed_event_routes(r: &mut Routes<Api>) {
    let schedule = "/rooms/{room_id}/delayed_event/{event_type}/{txn_id}";
    r.put(Client::V3R0, schedule, delayed_events::send_delayed_event::handle).body_up_to(EVENT);
    r.get(Client::V1, "/delayed_events/{delay_id}", delayed_events::get_delayed_event::handle);
    r.post(Client::V1, "/delayed_events/{delay_id}/{action}", delayed_events::update_delayed_event::handle);
    let unstable = |path: &str| format!("/org.matrix.msc4140{path}");
    r.put(Client::UNSTABLE, &unstable(schedule), delayed_events::send_delayed_event::unstable).body_up_to(EVENT);
    let all = unstable("/delayed_events");
    r.get(Client::UNSTABLE, &all, delayed_events::get_all_delayed_events::handle);
    let one = unstable("/delayed_events/{delay_id}");
    r.get(Client::UNSTABLE, &one, delayed_events::get_delayed_event::unstable);
    r.post(Client::UNSTABLE, &one, delayed_events::update_delayed_event::by_body);
    let action = unstable("/delayed_events/{delay_id}/{action}");
    r.post(Client::UNSTABLE, &action, delayed_events::update_delayed_event::unstable);
}

fn room_addresses(r: &mut Routes<Api>) {
    r.get(ALL, "/directory/room/{room_alias}", alias::get_alias::handle);
    r.put(ALL, "/directory/room/{room_alias}", alias::create_alias::handle);
    r.delete(ALL, "/directory/room/{room_alias}", alias::delete_alias::handle);
    r.put(ALL, "/directory/list/appservice/{network_id}/{room_id}", appservice::set_room_visibility::handle);
    r.get(ALL, "/directory/list/room/{room_id}", directory::get_room_visibility::handle);
    r.put(ALL, "/directory/list/room/{room_id}", directory::set_room_visibility::handle);
    r.get(ALL, "/publicRooms", directory::get_public_rooms::handle);
    r.post(ALL, "/publicRooms", directory::get_public_rooms_filtered::handle);
}

fn profiles(r: &mut Routes<Api>) {
    r.get(ALL, "/profile/{user_id}", profile::get_profile::handle);
    r.get(ALL, "/profile/{user_id}/{field}", profile::get_profile_field::handle);
    r.put(ALL, "/profile/{user_id}/{field}", profile::set_profile_field::handle).body_up_to(EVENT);
    r.delete(ALL, "/profile/{user_id}/{field}", profile::delete_profile_field::handle);
    let unstable = "/uk.tcpip.msc4133/profile/{user_id}/{field}";
    r.get(Client::UNSTABLE, unstable, profile::get_profile_field::unstable);
    r.put(Client::UNSTABLE, unstable, profile::set_profile_field::unstable).body_up_to(EVENT);
    r.delete(Client::UNSTABLE, unstable, profile::delete_profile_field::unstable);
    r.post(ALL, "/user_directory/search", user_directory::search_users::handle);
    r.post(ALL, "/search", search::search_events::handle);
}
