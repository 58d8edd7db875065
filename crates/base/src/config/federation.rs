use std::time::Duration;

use crate::schema::{MapReader, options};

options! {
    /// Other servers.
    pub struct FederationSection checked by check_federation {
        /// The only servers to communicate with; all when not set, none when empty.
        acts federation_domain_whitelist: Option<Vec<String>>,
        /// Whether users may read that list, at `/_synapse/client/v1/config/federation_whitelist`.
        acts federation_whitelist_endpoint_enabled: bool = false,
        /// Servers for which the age of the last transaction is measured.
        later federation_metrics_domains: Vec<String>,
        /// Whether other servers may read profiles.
        acts allow_profile_lookup_over_federation: bool = true,
        /// Whether other servers may read the names of devices.
        acts allow_device_name_lookup_over_federation: bool = false,
        /// A room in which this server has users. With it the server is a policy server: of rooms whose `m.room.policy`
        /// names it, it signs the events that no rule of this room bans.
        acts policy_server_rules_room: Option<String>,
        /// Timeouts and retries of requests.
        acts federation: Federation,
    }
}

fn check_federation(section: FederationSection, map: &mut MapReader<'_, '_>) -> FederationSection {
    if let Some(room) = section.policy_server_rules_room.as_ref().filter(|room| !room.starts_with('!')) {
        map.error("policy_server_rules_room", format!("found {room:?}; allowed is a room id"));
    }
    section
}

options! {
    /// Timeouts and retries of requests.
    pub struct Federation {
        /// How long to wait for a response.
        acts client_timeout: Duration = Duration::from_secs(60),
        /// The longest pause before a short retry.
        acts max_short_retry_delay: Duration = Duration::from_secs(2),
        /// The longest pause before a long retry of a transaction.
        acts max_long_retry_delay: Duration = Duration::from_secs(60),
        /// The number of short retries, within seconds, of a request.
        acts max_short_retries: u32 = 3,
        /// The number of long retries, within minutes, of a transaction, before the backoff of its destination begins.
        acts max_long_retries: u32 = 10,
        /// The first backoff of a failing server.
        acts destination_min_retry_interval: Duration = Duration::from_secs(600),
        /// The factor by which the backoff grows with each failure.
        acts destination_retry_multiplier: u32 = 2,
        /// The longest backoff.
        acts destination_max_retry_interval: Duration = Duration::from_secs(7 * 86_400),
    }
}
