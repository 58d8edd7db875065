//! Limits on wrong guesses at secrets.

use std::net::IpAddr;

use plexus_base::config::RateLimit;
use plexus_base::rate_limiter::network;
use plexus_base::{Clock, LimitExceeded, RateLimiter, Reservation};
use plexus_protocol::id::UserId;

use crate::settings::GuessSettings;

/// How many wrong guesses at the shared secret of registration are allowed at once, and how many then in a second. More
/// than at passwords: the secret is usually long, and behind a proxy whose `X-Forwarded-For` is not trusted, all
/// strangers share one address, and so one budget, with the administrator who registers users on the machine itself.
const SHARED_SECRET_BURST: f64 = 20.0;
const SHARED_SECRET_PER_SECOND: f64 = 1.0 / 6.0;

/// The budgets of wrong guesses at secrets that people choose: passwords, registration tokens and the shared secret of
/// registration. A guess is counted before it is checked and given back when it was right. Tokens that this server
/// makes up (access, refresh, login, OpenID) have 190 random bits and need no budget.
pub(crate) struct GuessLimits {
    passwords: RateLimiter<str>,
    /// Guesses at the user's own password, made while logged in. Counted separately, so that strangers who guess at
    /// logins cannot keep a user from changing the password or ending a stolen session.
    own_passwords: RateLimiter<str>,
    registration_tokens: RateLimiter<IpAddr>,
    shared_secret: RateLimiter<IpAddr>,
}

impl GuessLimits {
    pub(crate) fn new(settings: GuessSettings, clock: &Clock) -> Self {
        let (passwords, tokens) = (settings.failed_attempts, settings.registration_token_validity);
        let burst = |limit: RateLimit| f64::from(limit.burst_count);
        Self {
            passwords: RateLimiter::new(clock.clone(), passwords.per_second, burst(passwords)),
            own_passwords: RateLimiter::new(clock.clone(), passwords.per_second, burst(passwords)),
            registration_tokens: RateLimiter::new(clock.clone(), tokens.per_second, burst(tokens)),
            // Synapse has no option for it, and does not limit it.
            shared_secret: RateLimiter::new(clock.clone(), SHARED_SECRET_PER_SECOND, SHARED_SECRET_BURST),
        }
    }

    /// Counts a guess at the password of the account `name`, whether or not it exists.
    pub(crate) fn password(&self, name: &str) -> Result<Reservation<'_>, LimitExceeded> {
        self.passwords.reserve(&name.to_lowercase())
    }

    /// Counts a guess at the password of a user who is logged in.
    pub(crate) fn own_password(&self, user: &UserId) -> Result<Reservation<'_>, LimitExceeded> {
        self.own_passwords.reserve(user.as_str())
    }

    /// Counts a guess at a registration token.
    pub(crate) fn registration_token(&self, from: Option<IpAddr>) -> Result<Reservation<'_>, LimitExceeded> {
        self.registration_tokens.reserve(&network(from))
    }

    /// Counts a query whether a registration token is valid, whatever the result.
    pub(crate) fn registration_token_question(&self, from: Option<IpAddr>) -> Result<(), LimitExceeded> {
        self.registration_tokens.check(&network(from))
    }

    /// Counts a guess at `registration_shared_secret`.
    pub(crate) fn shared_secret(&self, from: Option<IpAddr>) -> Result<Reservation<'_>, LimitExceeded> {
        self.shared_secret.reserve(&network(from))
    }
}
