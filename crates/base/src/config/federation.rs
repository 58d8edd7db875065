use std::time::Duration;

use crate::schema::options;

options! {
    /// Other servers.
    pub struct FederationSection {
        /// The only servers to speak with; all when not set, none when empty.
        acts federation_domain_whitelist: Option<Vec<String>>,
        /// Whether users may read that list.
        later federation_whitelist_endpoint_enabled: bool = false,
        /// Servers for which the age of the last transaction is measured.
        later federation_metrics_domains: Vec<String>,
        /// Whether other servers may read profiles.
        acts allow_profile_lookup_over_federation: bool = true,
        /// Whether other servers may read the names of devices.
        acts allow_device_name_lookup_over_federation: bool = false,
        /// How patiently requests are made.
        acts federation: Federation,
    }
}

options! {
    /// How patiently requests are made.
    pub struct Federation {
        /// How long to wait for an answer.
        acts client_timeout: Duration = Duration::from_secs(60),
        /// The longest pause before one of the quick retries.
        acts max_short_retry_delay: Duration = Duration::from_secs(2),
        /// The longest pause before one of the further retries of a transaction.
        acts max_long_retry_delay: Duration = Duration::from_secs(60),
        /// How often a request is tried again within seconds.
        acts max_short_retries: u32 = 3,
        /// How often a transaction is tried again after that, within minutes, before its destination is left alone.
        acts max_long_retries: u32 = 10,
        /// How long a server that failed is left alone at first.
        acts destination_min_retry_interval: Duration = Duration::from_secs(600),
        /// By how much that time grows with each failure.
        acts destination_retry_multiplier: u32 = 2,
        /// How long it can become.
        acts destination_max_retry_interval: Duration = Duration::from_secs(7 * 86_400),
    }
}
