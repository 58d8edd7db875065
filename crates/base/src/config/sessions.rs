use std::time::Duration;

use crate::schema::{MapReader, options};

options! {
    /// The duration of sessions.
    pub struct SessionsSection checked by check_sessions {
        /// How long a session lasts; for ever when not set.
        acts session_lifetime: Option<Duration>,
        /// How long an access token with a refresh token lasts; null disables refresh tokens.
        acts refreshable_access_token_lifetime: Option<Duration> = Some(Duration::from_secs(300)),
        /// How long an unused refresh token lasts; for ever when not set.
        acts refresh_token_lifetime: Option<Duration>,
        /// How long an access token without a refresh token lasts; for ever when not set.
        acts nonrefreshable_access_token_lifetime: Option<Duration>,
        /// User-interactive authentication.
        acts ui_auth: UiAuth,
        /// Logging in a new device with the help of an existing session.
        acts login_via_existing_session: LoginViaExistingSession,
    }
}

fn check_sessions(section: SessionsSection, map: &mut MapReader<'_, '_>) -> SessionsSection {
    let Some(session) = section.session_lifetime else {
        return section;
    };
    let parts = [
        (
            "refreshable_access_token_lifetime",
            section.refreshable_access_token_lifetime,
        ),
        ("refresh_token_lifetime", section.refresh_token_lifetime),
        (
            "nonrefreshable_access_token_lifetime",
            section.nonrefreshable_access_token_lifetime,
        ),
    ];
    for (name, lifetime) in parts {
        if map.sets(name) && lifetime.is_some_and(|lifetime| lifetime > session) {
            map.error(name, "longer than session_lifetime; allowed is that or less");
        }
    }
    section
}

options! {
    /// User-interactive authentication.
    pub struct UiAuth {
        /// How long after an authentication no further one is required, for some requests.
        acts session_timeout: Duration = Duration::ZERO,
    }
}

options! {
    /// Logging in a new device with the help of an existing session.
    pub struct LoginViaExistingSession {
        /// Whether this is enabled.
        acts enabled: bool = false,
        /// Whether it requires user-interactive authentication.
        acts require_ui_auth: bool = true,
        /// How long the new device may take.
        acts token_timeout: Duration = Duration::from_secs(300),
    }
}
