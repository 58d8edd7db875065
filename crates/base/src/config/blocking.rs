use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::registration::Medium;
use crate::schema::options;

options! {
    /// Limits of the whole server, and retention periods.
    pub struct BlockingSection {
        /// How to reach the administrator, in error messages about limits of the server.
        acts admin_contact: Option<String>,
        /// Whether the server refuses nearly all requests.
        refused(
            "the server would serve everybody; stop it instead"
        ) hs_disabled: bool = false,
        /// The reason, for the error message.
        later hs_disabled_message: String = String::new(),
        /// Whether the number of monthly active users is limited.
        refused(
            "users above the limit would be let in; remove it to accept that"
        ) limit_usage_by_mau: bool = false,
        /// The maximum number of monthly active users.
        later max_mau_value: u32 = 0,
        /// A new user is counted as active only after this many days.
        later mau_trial_days: u32 = 0,
        /// The same for users of an application service, by its id.
        later mau_appservice_trial_days: BTreeMap<String, u32>,
        /// Whether users are notified when the limit is reached.
        later mau_limit_alerting: bool = true,
        /// Whether active users are counted even without a limit.
        later mau_stats_only: bool = false,
        /// Users, by address, who are exempt from the limit.
        later mau_limit_reserved_threepids: Vec<ReservedThreepid>,
        /// A name for this server in reported statistics.
        later server_context: Option<String>,
        /// Joining large rooms of other servers.
        acts limit_remote_rooms: LimitRemoteRooms,
        /// Whether creating an alias for a room requires membership in it.
        acts require_membership_for_aliases: bool = true,
        /// Whether users may have a different name or avatar in a room.
        acts allow_per_room_profiles: bool = true,
        /// The size of the largest avatar that users may set, in bytes.
        acts max_avatar_size: Option<u64>,
        /// The content types that avatars may have; any when not set.
        acts allowed_avatar_mimetypes: Option<Vec<String>>,
        /// How long the content of redacted events is kept; for ever when null.
        acts redaction_retention_period: Option<Duration> = Some(Duration::from_secs(7 * 86_400)),
        /// For how long after sending an event its sender may redact it; for ever when null. Old events can
        /// always be redacted.
        later redaction_allowed_period: Option<Duration>,
        /// How long after all its local users forgot a room it is deleted, give or take a day; never when null.
        acts forgotten_room_retention_period: Option<Duration>,
        /// How long the addresses and user agents of clients are kept after their last use; for ever when null.
        acts user_ips_max_age: Option<Duration> = Some(Duration::from_secs(28 * 86_400)),
        /// Whether a request to validate an address hides whether an account has it.
        acts request_token_inhibit_3pid_errors: bool = false,
        /// Domains to which the link after a validation may lead; any when null.
        acts next_link_domain_whitelist: Option<Vec<String>>,
        /// Pages and mail.
        acts templates: Templates,
        /// Deleting old messages.
        later retention: Retention,
    }
}

options! {
    /// A user, by address, who is exempt from the limit.
    pub struct ReservedThreepid {
        /// The kind of address.
        later medium: Medium,
        /// The address.
        later address: String,
    }
}

options! {
    /// Joining large rooms of other servers.
    pub struct LimitRemoteRooms {
        /// Whether joining is limited by complexity.
        acts enabled: bool = false,
        /// The most complex room that may be joined: its current state events, divided by 500.
        acts complexity: f64 = 1.0,
        /// The error message for users who try to join a more complex room.
        acts complexity_error: String = "Your homeserver is unable to join rooms this large or complex. Please speak \
            to your server administrator, or upgrade your instance to join this room.".to_owned(),
        /// Whether server administrators may join anyway.
        acts admins_can_join: bool = false,
    }
}

options! {
    /// Pages and mail.
    pub struct Templates {
        /// A folder with Jinja templates that replace the built-in ones of the same name.
        acts custom_template_directory: Option<PathBuf>,
    }
}

options! {
    /// Deleting old messages.
    pub struct Retention {
        /// Whether the server applies the `m.room.retention` of rooms.
        refused(
            "messages that are to be deleted would stay; set it to false to accept that"
        ) enabled: bool = false,
        /// The policy of rooms without one.
        later default_policy: Option<RetentionPolicy>,
        /// The shortest lifetime that a room can set.
        later allowed_lifetime_min: Option<Duration>,
        /// The longest lifetime that a room can set.
        later allowed_lifetime_max: Option<Duration>,
        /// How often messages are deleted, by lifetime.
        later purge_jobs: Vec<PurgeJob>,
    }
}

options! {
    /// The lifetime of messages.
    pub struct RetentionPolicy {
        /// Messages are kept at least this long.
        later min_lifetime: Option<Duration>,
        /// Messages are deleted after this time.
        later max_lifetime: Option<Duration>,
    }
}

options! {
    /// How often messages of a range of lifetimes are deleted.
    pub struct PurgeJob {
        /// For rooms with a longer lifetime than this.
        later shortest_max_lifetime: Option<Duration>,
        /// For rooms with at most this lifetime.
        later longest_max_lifetime: Option<Duration>,
        /// How often.
        later interval: Duration,
    }
}

/// An object with arbitrary content.
pub(super) type Object = Map<String, Value>;
