use std::time::Duration;

use crate::schema::options;

options! {
    /// Notifications.
    pub struct PushSection {
        /// Notifications.
        acts push: Push,
        /// Push rules.
        acts push_rules: PushRules,
    }
}

options! {
    /// Notifications.
    pub struct Push {
        /// Whether unread messages are counted and notified.
        acts enabled: bool = true,
        /// Whether a notification includes the message's content for the push gateway.
        acts include_content: bool = true,
        /// Whether the badge counts rooms with unread messages instead of messages.
        acts group_unread_count_by_room: bool = true,
        /// Notifications are delayed by a random time up to this, to hide who reacts to whose messages.
        acts jitter_delay: Duration = Duration::ZERO,
    }
}

options! {
    /// Push rules.
    pub struct PushRules {
        /// Their limits.
        acts limits: PushRuleLimits,
    }
}

options! {
    /// Limits of push rules.
    pub struct PushRuleLimits {
        /// The most rules of one user.
        acts rule_count: u32 = 10_000,
        /// The longest rule id, in bytes, including its kind.
        acts rule_id_length: u32 = 300,
        /// The largest rule: its conditions and actions, in bytes of JSON.
        acts rule_size: u64 = 1024,
    }
}
