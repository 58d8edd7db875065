//! The options of the configuration that concern accounts.

use std::time::Duration;

use plexus_base::config::RateLimit;
use plexus_protocol::id::{ServerName, UserId};

use crate::password::Policy;

/// Options of registration, passwords and sessions. A field that holds one option has its name.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are named as their options")]
pub struct Settings {
    pub server_name: ServerName,
    pub registration: RegistrationSettings,
    pub password: PasswordSettings,
    pub sessions: SessionSettings,
    pub login_via_existing_session: LoginTokenSettings,
    /// How long a session need not repeat user-interactive authentication; zero: it always has to.
    pub ui_auth_session_timeout: Duration,
    pub guesses: GuessSettings,
}

/// Who may register, and how.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are named as their options")]
pub struct RegistrationSettings {
    pub enable_registration: bool,
    pub registration_requires_token: bool,
    /// The stage name of a verification that the configuration requires and this server does not have yet: registration
    /// is closed then, rather than open without it.
    pub unsupported_verification: Option<&'static str>,
    pub registration_shared_secret: Option<String>,
    pub allow_guest_access: bool,
    pub inhibit_user_in_use_error: bool,
    pub allow_underscore_prefixed_registration: bool,
    /// The user who sends server notices. Nobody can register that name.
    pub notices_user: Option<UserId>,
}

/// `password_config`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are named as their options")]
pub struct PasswordSettings {
    /// Whether users can log in with a password.
    pub for_login: bool,
    /// Whether users can authorise sensitive requests with a password.
    pub for_reauth: bool,
    pub pepper: String,
    pub policy: Policy,
}

impl Default for PasswordSettings {
    fn default() -> Self {
        Self { for_login: true, for_reauth: true, pepper: String::new(), policy: Policy::default() }
    }
}

/// Sessions. Lifetimes of tokens that are `None` are without end.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are named as their options")]
pub struct SessionSettings {
    /// A session ends this long after login, however often it is refreshed.
    pub session_lifetime: Option<Duration>,
    /// `None` turns refresh tokens off.
    pub refreshable_access_token_lifetime: Option<Duration>,
    pub refresh_token_lifetime: Option<Duration>,
    pub nonrefreshable_access_token_lifetime: Option<Duration>,
    pub track_appservice_user_ips: bool,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            session_lifetime: None,
            refreshable_access_token_lifetime: Some(Duration::from_secs(300)),
            refresh_token_lifetime: None,
            nonrefreshable_access_token_lifetime: None,
            track_appservice_user_ips: false,
        }
    }
}

/// `login_via_existing_session`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are named as their options")]
pub struct LoginTokenSettings {
    pub enabled: bool,
    pub require_ui_auth: bool,
    pub token_timeout: Duration,
}

impl Default for LoginTokenSettings {
    fn default() -> Self {
        Self { enabled: false, require_ui_auth: true, token_timeout: Duration::from_secs(300) }
    }
}

/// Limits on wrong guesses at secrets.
#[derive(Debug, Clone, Copy)]
pub struct GuessSettings {
    /// `rc_login.failed_attempts`: passwords, by account.
    pub failed_attempts: RateLimit,
    /// `rc_registration_token_validity`: registration tokens, by address.
    pub registration_token_validity: RateLimit,
}

impl Default for GuessSettings {
    fn default() -> Self {
        Self { failed_attempts: RateLimit::new(0.17, 3), registration_token_validity: RateLimit::new(0.1, 5) }
    }
}

impl Settings {
    /// The defaults for a server of this name: registration closed, password login on.
    #[must_use]
    pub fn new(server_name: ServerName) -> Self {
        Self {
            server_name,
            registration: RegistrationSettings::default(),
            password: PasswordSettings::default(),
            sessions: SessionSettings::default(),
            login_via_existing_session: LoginTokenSettings::default(),
            ui_auth_session_timeout: Duration::ZERO,
            guesses: GuessSettings::default(),
        }
    }
}
