//! GET /_matrix/client/versions

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::config::{Config, EncryptionByDefault, SecureChannelMode};
use plexus_http::{JsonBody, State};
use plexus_rooms::Rooms;
use plexus_service::DelayedEvents;
use serde::Serialize;

/// The versions of the specification that this server implements, oldest first.
const VERSIONS: [&str; 27] = [
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4",
    "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16", "v1.17",
    "v1.18", "v1.19",
];

/// Features that clients still look up by their unstable names. Only those that work are listed.
const UNSTABLE_FEATURES: [&str; 15] = [
    // Lazy-loaded members, in the specification since r0.5.0.
    "m.lazy_load_members",
    // Cross-signing by its old name.
    "org.matrix.e2e_cross_signing",
    // Rooms' aliases, in the specification since r0.6.1.
    "org.matrix.msc2432",
    // Private read receipts.
    "org.matrix.msc2285.stable",
    // Directories of rooms by their type.
    "org.matrix.msc3827.stable",
    // Threads, and receipts in them.
    "org.matrix.msc3440.stable",
    "org.matrix.msc3771",
    // Fields of profiles.
    "uk.tcpip.msc4133.stable",
    // Stable as v1.11's authenticated media.
    "org.matrix.msc3916.stable",
    // Sliding sync (MSC4186) in the form of `sync/sync_events/v5/unstable.rs`.
    "org.matrix.simplified_msc3575",
    // Invite blocking, by the account data `m.invite_permission_config`.
    "org.matrix.msc4380.stable",
    // Rooms in common with another user, by the unstable and by the specified path.
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    // `recurse` of `/relations`.
    "org.matrix.msc3981",
    // Redactions by `/send`.
    "com.beeper.msc4169",
];

/// Features that Synapse names and this server does not have.
const MISSING_FEATURES: [&str; 11] = [
    // Filters by label.
    "org.matrix.label_based_filtering",
    // The presence `busy`.
    "org.matrix.msc3026.busy_presence",
    // Unread counts of threads, under the unstable name.
    "org.matrix.msc3773",
    // Redacted content for moderators.
    "fi.mau.msc2815",
    // Pings from application services.
    "fi.mau.msc2659.stable",
    // Login tokens, under the unstable name.
    "org.matrix.msc3882",
    // Messages by their relations, under the unstable name.
    "org.matrix.msc3874",
    // A topological order of the first sync's timelines.
    "org.matrix.msc4445.initial_sync_timeline_topological_ordering",
    // Reasons of invites to a new room.
    "uk.timedout.msc4491.create_room_invite_reasons",
    // Moving the read marker back.
    "com.beeper.msc4446",
    // Private read receipts, under the unstable name.
    "org.matrix.msc2285",
];

/// Delayed events, unstable and as accepted.
const DELAYED_EVENTS: [&str; 2] = ["org.matrix.msc4140", "org.matrix.msc4140.stable"];

/// Sticky events, whose proposal is not accepted yet.
const STICKY_EVENTS: &str = "org.matrix.msc4354";

#[derive(Serialize)]
pub(crate) struct Response {
    versions: &'static [&'static str],
    unstable_features: BTreeMap<&'static str, bool>,
}

pub(crate) async fn handle(
    State(config): State<Arc<Config>>,
    State(delayed): State<DelayedEvents>,
    State(rooms): State<Arc<Rooms>>,
) -> JsonBody<Response> {
    let experimental = &config.experimental.experimental_features;
    let accepts_delayed = delayed.limits().accepts_any();
    let mut unstable_features: BTreeMap<_, _> = UNSTABLE_FEATURES.iter().map(|name| (*name, true)).collect();
    unstable_features.extend(DELAYED_EVENTS.map(|name| (name, accepts_delayed)));
    unstable_features.insert(STICKY_EVENTS, rooms.sticky_events().is_enabled());
    unstable_features.extend(MISSING_FEATURES.map(|name| (name, false)));
    unstable_features.insert("org.matrix.msc4143", experimental.msc4143_enabled);
    let private_encrypted = config.rooms.encryption_enabled_by_default_for_room_type != EncryptionByDefault::Off;
    let public_encrypted = config.rooms.encryption_enabled_by_default_for_room_type == EncryptionByDefault::All;
    unstable_features.insert("io.element.e2ee_forced.public", public_encrypted);
    unstable_features.insert("io.element.e2ee_forced.private", private_encrypted);
    unstable_features.insert("io.element.e2ee_forced.trusted_private", private_encrypted);
    // Changing a profile without its copies in rooms, and fields of profiles under the unstable path.
    unstable_features.insert("org.matrix.msc4069", experimental.msc4069_profile_inhibit_propagation);
    unstable_features.insert("uk.tcpip.msc4133", experimental.msc4133_enabled);
    // Invite filtering.
    unstable_features.insert("org.matrix.msc4155", experimental.msc4155_enabled);
    // Deleting account data.
    unstable_features.insert("org.matrix.msc3391", experimental.msc3391_enabled);
    // Logging in by QR code.
    let msc4108 = experimental.msc4108_enabled || experimental.msc4108_delegation_endpoint.is_some();
    unstable_features.insert("org.matrix.msc4108", msc4108);
    unstable_features.insert("io.element.msc4388", experimental.msc4388_mode != SecureChannelMode::Off);
    // Following profiles by sliding sync and by /sync.
    for name in ["org.matrix.msc4262", "org.matrix.msc4429"] {
        unstable_features.insert(name, config.server.include_profile_updates_in_sync);
    }
    // Subscriptions to threads (MSC4306, MSC4308).
    unstable_features.insert("org.matrix.msc4306", experimental.msc4306_enabled);
    // Turning pushers of other devices on and off.
    unstable_features.insert("org.matrix.msc3881", experimental.msc3881_enabled);
    // Pushing every encrypted event.
    unstable_features.insert("org.matrix.msc4028", experimental.msc4028_push_encrypted_events);
    // Redacting the events that relate to a redacted one.
    unstable_features.insert("org.matrix.msc3912", experimental.msc3912_enabled);
    JsonBody(Response { versions: &VERSIONS, unstable_features })
}
