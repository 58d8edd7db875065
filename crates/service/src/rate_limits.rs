//! The rate limits of the client-server API (`rc_*`), one limiter per option. Those on changes of membership
//! (`rc_joins`, `rc_joins_per_room`, `rc_invites`) are in [`plexus_rooms::MembershipLimits`].

use std::net::IpAddr;

use plexus_accounts::Requester;
use plexus_base::config::{RateLimit, RatelimitsSection};
use plexus_base::{Clock, LimitExceeded, RateLimiter};
use plexus_protocol::id::UserId;

/// The limiters, each named for its option. Wrong guesses at secrets are counted where the secret is checked, in the
/// accounts crate.
#[expect(missing_docs, reason = "a limiter is named for its option")]
pub struct RateLimits {
    pub message: RateLimiter<UserId>,
    /// Redactions of events of others; where this is `None` they count as messages.
    pub admin_redaction: Option<RateLimiter<UserId>>,
    /// By user and device.
    pub key_requests: RateLimiter<(UserId, Option<String>)>,
    pub registration: RateLimiter<IpAddr>,
    /// Not configurable: Synapse's fixed limit, against collecting names.
    pub username_availability: RateLimiter<IpAddr>,
    /// Not configurable: Synapse's fixed limit of one a minute.
    pub login_token: RateLimiter<UserId>,
    pub login_address: RateLimiter<IpAddr>,
    /// By the name that the client gave, whether or not there is such an account.
    pub login_account: RateLimiter<str>,
    /// `rc_3pid_validation`, by the address to be validated.
    pub threepid_validation: RateLimiter<str>,
    /// `rc_3pid_validation`, by the client's address.
    pub threepid_validation_address: RateLimiter<IpAddr>,
    pub media_create: RateLimiter<UserId>,
    pub room_creation: RateLimiter<UserId>,
    pub reports: RateLimiter<UserId>,
    pub profile: RateLimiter<UserId>,
    pub user_directory: RateLimiter<UserId>,
    pub presence: RateLimiter<UserId>,
    pub delayed_event_mgmt: RateLimiter<UserId>,
    /// `rc_delayed_event_mgmt` for requests without an access token.
    pub delayed_event_mgmt_address: RateLimiter<IpAddr>,
    /// Not configurable: two devices that look for messages every second, and some more behind the same address.
    pub rendezvous: RateLimiter<IpAddr>,
    /// Not configurable: a person logs in a device now and then.
    pub rendezvous_creation: RateLimiter<IpAddr>,
}

impl RateLimits {
    /// The limiters as configured.
    #[must_use]
    pub fn new(config: &RatelimitsSection, clock: &Clock) -> Self {
        Self {
            message: limiter(config.rc_message, clock),
            admin_redaction: config.rc_admin_redaction.map(|limit| limiter(limit, clock)),
            key_requests: limiter(config.rc_key_requests, clock),
            registration: limiter(config.rc_registration, clock),
            username_availability: limiter(RateLimit::new(1.0, 10), clock),
            login_token: limiter(RateLimit::new(1.0 / 60.0, 1), clock),
            login_address: limiter(config.rc_login.address, clock),
            login_account: limiter(config.rc_login.account, clock),
            threepid_validation: limiter(config.rc_3pid_validation, clock),
            threepid_validation_address: limiter(config.rc_3pid_validation, clock),
            media_create: limiter(config.rc_media_create, clock),
            room_creation: limiter(config.rc_room_creation, clock),
            reports: limiter(config.rc_reports, clock),
            profile: limiter(config.rc_profile, clock),
            user_directory: limiter(config.rc_user_directory, clock),
            presence: limiter(config.rc_presence.per_user, clock),
            delayed_event_mgmt: limiter(config.rc_delayed_event_mgmt, clock),
            delayed_event_mgmt_address: limiter(config.rc_delayed_event_mgmt, clock),
            rendezvous: limiter(RateLimit::new(10.0, 100), clock),
            rendezvous_creation: limiter(RateLimit::new(0.1, 20), clock),
        }
    }
}

/// Counts a request of a user for a limit, if the limits apply to it.
///
/// # Errors
/// When the limit is exceeded.
pub fn check_limit(limiter: &RateLimiter<UserId>, requester: &Requester) -> Result<(), LimitExceeded> {
    if requester.is_rate_limited() { limiter.check(&requester.user_id) } else { Ok(()) }
}

fn limiter<K: std::hash::Hash + ?Sized>(limit: RateLimit, clock: &Clock) -> RateLimiter<K> {
    RateLimiter::new(clock.clone(), limit.per_second, f64::from(limit.burst_count))
}
