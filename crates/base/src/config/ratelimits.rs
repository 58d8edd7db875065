use super::Field;
use crate::schema::{Fields, MapReader, Reader, Value, options};
use crate::yaml::Node;

options! {
    /// Rate limits of users, addresses and servers.
    pub struct RatelimitsSection checked by check_ratelimits {
        /// Messages of one user.
        acts rc_message: RateLimit = RateLimit::new(0.2, 10),
        /// Registrations from one address.
        acts rc_registration: RateLimit = RateLimit::new(0.17, 3),
        /// Checks of registration tokens from one address, and wrong tokens at registration.
        acts rc_registration_token_validity: RateLimit = RateLimit::new(0.1, 5),
        /// Logins.
        acts rc_login: LoginLimits,
        /// Redactions of other users' events; counted as messages when not set.
        acts rc_admin_redaction: Option<RateLimit>,
        /// Joins of one user.
        acts rc_joins: JoinLimits,
        /// Joins to one room, including users of other servers.
        acts rc_joins_per_room: RateLimit = RateLimit::new(1.0, 10),
        /// Mails and text messages to validate an address.
        acts rc_3pid_validation: RateLimit = RateLimit::new(0.003, 5),
        /// Invites by users of this server, and invites of them by users of other servers.
        acts rc_invites: InviteLimits,
        /// Invites of one user by email address or telephone number.
        later rc_third_party_invite: RateLimit = RateLimit::new(0.0025, 5),
        /// Media ids that one user reserves before uploading.
        acts rc_media_create: RateLimit = RateLimit::new(10.0, 50),
        /// Requests of one other server. The number of transactions, which a server sends one after the other, is not
        /// limited.
        acts rc_federation: FederationLimits,
        /// Presence updates.
        acts rc_presence: PresenceLimits,
        /// Changes of one user to delayed events.
        acts rc_delayed_event_mgmt: RateLimit = RateLimit::new(1.0, 5),
        /// Reports of one user about events, rooms and users.
        acts rc_reports: RateLimit = RateLimit::new(1.0, 5),
        /// Rooms that one user creates.
        acts rc_room_creation: RateLimit = RateLimit::new(0.016, 10),
        /// Searches of one user in the user directory.
        acts rc_user_directory: RateLimit = RateLimit::new(0.016, 200),
        /// Profiles that one user looks up.
        acts rc_profile: RateLimit = RateLimit::new(1.0, 500),
        /// Key requests of one device to other devices; excess requests are dropped.
        acts rc_key_requests: RateLimit = RateLimit::new(20.0, 100),
        /// How many transactions with read receipts of one room are sent per second.
        acts federation_rr_transactions_per_room_per_second: u32 = 50,
        /// The old form of `rc_message.per_second`.
        acts rc_messages_per_second: Option<f64>,
        /// The old form of `rc_message.burst_count`.
        acts rc_message_burst_count: Option<f64>,
        /// The old form of `rc_federation.window_size`.
        acts federation_rc_window_size: Option<u32>,
        /// The old form of `rc_federation.sleep_limit`.
        acts federation_rc_sleep_limit: Option<u32>,
        /// The old form of `rc_federation.sleep_delay`.
        acts federation_rc_sleep_delay: Option<u32>,
        /// The old form of `rc_federation.reject_limit`.
        acts federation_rc_reject_limit: Option<u32>,
        /// The old form of `rc_federation.concurrent`.
        acts federation_rc_concurrent: Option<u32>,
    }
}

/// The old options apply where the new ones are not set.
fn check_ratelimits(
    mut section: RatelimitsSection,
    map: &mut MapReader<'_, '_>,
) -> RatelimitsSection {
    if !map.sets("rc_message") {
        let message = &mut section.rc_message;
        message.per_second = section.rc_messages_per_second.unwrap_or(message.per_second);
        if let Some(burst) = section.rc_message_burst_count {
            message.burst_count = burst.clamp(0.0, f64::from(u32::MAX)) as u32;
        }
    }
    if !map.sets("rc_federation") {
        let limits = &mut section.rc_federation;
        let old = [
            (&mut limits.window_size, section.federation_rc_window_size),
            (&mut limits.sleep_limit, section.federation_rc_sleep_limit),
            (&mut limits.sleep_delay, section.federation_rc_sleep_delay),
            (&mut limits.reject_limit, section.federation_rc_reject_limit),
            (&mut limits.concurrent, section.federation_rc_concurrent),
        ];
        for (limit, value) in old {
            *limit = value.unwrap_or(*limit);
        }
    }
    section
}

/// A bucket of `burst_count` actions that refills by `per_second`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Actions per second in the long run.
    pub per_second: f64,
    /// The most actions at once.
    pub burst_count: u32,
}

impl RateLimit {
    /// Returns the limit of `per_second` actions in the long run and `burst_count` at once.
    pub const fn new(per_second: f64, burst_count: u32) -> Self {
        Self {
            per_second,
            burst_count,
        }
    }
}

options! {
    /// The members of a rate limit.
    pub struct RateLimitMembers {
        /// Actions per second in the long run.
        acts per_second: Option<f64>,
        /// The most actions at once.
        acts burst_count: Option<f64>,
    }
}

impl Value for RateLimit {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        Self::read_over(node, reader, Self::new(0.17, 3))
    }

    fn read_over(node: &Node, reader: &mut Reader, default: Self) -> Option<Self> {
        let members: RateLimitMembers = MapReader::read(node, reader)?;
        let burst = members.burst_count.unwrap_or(f64::from(default.burst_count));
        let limit = Self {
            per_second: members.per_second.unwrap_or(default.per_second),
            // Synapse truncates too.
            burst_count: burst.clamp(0.0, f64::from(u32::MAX)) as u32,
        };
        if limit.per_second < 0.0 || burst < 0.0 {
            return reader.wrong(node, "per_second and burst_count of 0 or more");
        }
        Some(limit)
    }

    fn kind() -> String {
        "rate limit".to_owned()
    }

    fn show(&self) -> Option<String> {
        Some(format!(
            "{{per_second: {}, burst_count: {}}}",
            self.per_second, self.burst_count
        ))
    }

    fn nested() -> Option<fn() -> Vec<Field>> {
        Some(RateLimitMembers::fields)
    }
}

options! {
    /// Logins.
    pub struct LoginLimits {
        /// From one address.
        acts address: RateLimit = RateLimit::new(0.003, 5),
        /// To one account.
        acts account: RateLimit = RateLimit::new(0.003, 5),
        /// Failed logins to one account: wrong passwords at login and in user-interactive authentication. Attempts in
        /// progress count.
        acts failed_attempts: RateLimit = RateLimit::new(0.17, 3),
    }
}

options! {
    /// Joins of one user.
    pub struct JoinLimits {
        /// To rooms that this server participates in.
        acts local: RateLimit = RateLimit::new(0.1, 10),
        /// To other rooms, through other servers.
        acts remote: RateLimit = RateLimit::new(0.01, 10),
    }
}

options! {
    /// Invites.
    pub struct InviteLimits {
        /// To one room.
        acts per_room: RateLimit = RateLimit::new(0.3, 10),
        /// Of one invited user.
        acts per_user: RateLimit = RateLimit::new(0.003, 5),
        /// By one inviting user.
        acts per_issuer: RateLimit = RateLimit::new(0.3, 10),
    }
}

options! {
    /// Requests of one other server.
    pub struct FederationLimits {
        /// The time window of the count, in milliseconds.
        acts window_size: u32 = 1000,
        /// How many requests per window are handled before further ones are delayed.
        acts sleep_limit: u32 = 10,
        /// The delay, in milliseconds.
        acts sleep_delay: u32 = 500,
        /// How many delayed or queued requests there may be before further ones are refused.
        acts reject_limit: u32 = 50,
        /// How many requests are handled at the same time.
        acts concurrent: u32 = 3,
    }
}

options! {
    /// Presence updates.
    pub struct PresenceLimits {
        /// Of one user.
        acts per_user: RateLimit = RateLimit::new(0.1, 1),
    }
}
