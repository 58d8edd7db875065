use std::time::Duration;

use crate::schema::options;

options! {
    /// Notifications.
    pub struct PushSection {
        /// Notifications.
        acts push: Push,
        /// Rules by which users are notified.
        acts push_rules: PushRules,
    }
}

options! {
    /// Notifications.
    pub struct Push {
        /// Whether unread messages are counted and notified.
        acts enabled: bool = true,
        /// Whether a notification carries the message's content to the push gateway.
        later include_content: bool = true,
        /// Whether the badge counts rooms with unread messages, and not messages.
        later group_unread_count_by_room: bool = true,
        /// Notifications are delayed by a random time up to this, to hide who reacts to whom.
        later jitter_delay: Duration = Duration::ZERO,
    }
}

options! {
    /// Rules by which users are notified.
    pub struct PushRules {
        /// Their bounds.
        acts limits: PushRuleLimits,
    }
}

options! {
    /// Bounds of push rules.
    pub struct PushRuleLimits {
        /// How many rules one user may have.
        acts rule_count: u32 = 10_000,
        /// The longest id of a rule, in bytes, with its kind before it.
        acts rule_id_length: u32 = 300,
        /// The largest rule: its conditions and actions, in bytes of JSON.
        acts rule_size: u64 = 1024,
    }
}
