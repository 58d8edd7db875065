use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::registration::Medium;
use crate::schema::options;

options! {
    /// Limits of the whole server, and how long it remembers.
    pub struct BlockingSection {
        /// How to reach the administrator, in error messages about limits of the server.
        acts admin_contact: Option<String>,
        /// Whether the server refuses nearly everything.
        refused(
            "the server would serve everybody; stop it instead"
        ) hs_disabled: bool = false,
        /// Why, in the error message.
        later hs_disabled_message: String = String::new(),
        /// Whether the number of users active in a month is limited.
        refused(
            "users above the limit would be let in; remove it to accept that"
        ) limit_usage_by_mau: bool = false,
        /// The most users active in a month.
        later max_mau_value: u32 = 0,
        /// A new user is counted as active only after this many days.
        later mau_trial_days: u32 = 0,
        /// The same for users of an application service, by its id.
        later mau_appservice_trial_days: BTreeMap<String, u32>,
        /// Whether users are told when the limit is reached.
        later mau_limit_alerting: bool = true,
        /// Whether active users are counted even when not limited.
        later mau_stats_only: bool = false,
        /// Users, by address, who are never refused by the limit.
        later mau_limit_reserved_threepids: Vec<ReservedThreepid>,
        /// A name for this server in reported statistics.
        later server_context: Option<String>,
        /// Joining large rooms of other servers.
        later limit_remote_rooms: LimitRemoteRooms,
        /// Whether making an alias for a room needs membership in it.
        acts require_membership_for_aliases: bool = true,
        /// Whether users may have another name or avatar in a room than elsewhere. They always may.
        later allow_per_room_profiles: bool = true,
        /// The largest avatar.
        later max_avatar_size: Option<u64>,
        /// The kinds of files that avatars may be; any when not set.
        later allowed_avatar_mimetypes: Option<Vec<String>>,
        /// How long the content of redacted events is kept; for ever when null.
        acts redaction_retention_period: Option<Duration> = Some(Duration::from_secs(7 * 86_400)),
        /// For how long after sending an event its sender may redact it; for ever when null. Old events can
        /// always be redacted.
        later redaction_allowed_period: Option<Duration>,
        /// How long after all its local users forgot a room it is deleted; never when null. Rooms stay.
        later forgotten_room_retention_period: Option<Duration>,
        /// How long addresses of users are remembered; for ever when null.
        later user_ips_max_age: Option<Duration> = Some(Duration::from_secs(28 * 86_400)),
        /// Whether asking to validate an address hides whether an account has it.
        later request_token_inhibit_3pid_errors: bool = false,
        /// Domains that the link after a validation may lead to; any when null.
        later next_link_domain_whitelist: Option<Vec<String>>,
        /// Pages and mail.
        later templates: Templates,
        /// Deleting old messages.
        later retention: Retention,
    }
}

options! {
    /// A user, by address, who is never refused by the limit.
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
        later enabled: bool = false,
        /// The most complex room that may be joined: its current state events, divided by 500.
        later complexity: f64 = 1.0,
        /// What a user is told who tries to join a more complex one.
        later complexity_error: String = "Your homeserver is unable to join rooms this large or complex. Please speak to \
            your server administrator, or upgrade your instance to join this room.".to_owned(),
        /// Whether server administrators may join all the same.
        later admins_can_join: bool = false,
    }
}

options! {
    /// Pages and mail.
    pub struct Templates {
        /// A folder with Jinja templates that replace the built-in ones of the same name.
        later custom_template_directory: Option<PathBuf>,
    }
}

options! {
    /// Deleting old messages.
    pub struct Retention {
        /// Whether rooms' `m.room.retention` is heeded.
        refused(
            "messages that are to be deleted would stay; set it to false to accept that"
        ) enabled: bool = false,
        /// The policy of rooms that have none.
        later default_policy: Option<RetentionPolicy>,
        /// The least lifetime that a room can have.
        later allowed_lifetime_min: Option<Duration>,
        /// The greatest lifetime that a room can have.
        later allowed_lifetime_max: Option<Duration>,
        /// How often messages are deleted, by lifetime.
        later purge_jobs: Vec<PurgeJob>,
    }
}

options! {
    /// How long messages live.
    pub struct RetentionPolicy {
        /// Messages are kept at least this long.
        later min_lifetime: Option<Duration>,
        /// Messages are deleted after this time.
        later max_lifetime: Option<Duration>,
    }
}

options! {
    /// How often messages of some lifetime are deleted.
    pub struct PurgeJob {
        /// For rooms whose lifetime is longer than this.
        later shortest_max_lifetime: Option<Duration>,
        /// For rooms whose lifetime is at most this.
        later longest_max_lifetime: Option<Duration>,
        /// How often.
        later interval: Duration,
    }
}

/// An object of any content.
pub(super) type Object = Map<String, Value>;
