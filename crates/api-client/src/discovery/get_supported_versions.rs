//! GET /_matrix/client/versions

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::config::Config;
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
const UNSTABLE_FEATURES: [&str; 7] = [
    // Lazy-loaded members, in the specification since r0.5.0.
    "m.lazy_load_members",
    // Cross-signing by its old name.
    "org.matrix.e2e_cross_signing",
    // Stable as v1.11's authenticated media.
    "org.matrix.msc3916.stable",
    // Sliding sync (MSC4186) in the form of `sync/sync_events/v5/unstable.rs`.
    "org.matrix.simplified_msc3575",
    // Invite blocking, by the account data `m.invite_permission_config`.
    "org.matrix.msc4380.stable",
    // Rooms in common with another user, by the unstable and by the specified path.
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
];

/// Delayed events, unstable and as accepted.
const DELAYED_EVENTS: [&str; 2] = ["org.matrix.msc4140", "org.matrix.msc4140.stable"];

/// Sticky events, whose accepted proposal has no stable names in use yet.
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
    // Invite filtering.
    unstable_features.insert("org.matrix.msc4155", experimental.msc4155_enabled);
    JsonBody(Response { versions: &VERSIONS, unstable_features })
}
