use std::time::Duration;

use crate::schema::{MapReader, options};

options! {
    /// How long users stay logged in.
    pub struct SessionsSection checked by check_sessions {
        /// How long a session lasts; for ever when not set.
        acts session_lifetime: Option<Duration>,
        /// How long an access token lasts that can be refreshed; null turns refresh tokens off.
        acts refreshable_access_token_lifetime: Option<Duration> = Some(Duration::from_secs(300)),
        /// How long a refresh token lasts unused; for ever when not set.
        acts refresh_token_lifetime: Option<Duration>,
        /// How long an access token lasts that cannot be refreshed; for ever when not set.
        acts nonrefreshable_access_token_lifetime: Option<Duration>,
        /// Confirming what a user does.
        acts ui_auth: UiAuth,
        /// Logging in a new device with the help of one that is logged in.
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
    /// Confirming what a user does.
    pub struct UiAuth {
        /// For how long after a confirmation no further one is asked for; for some acts only.
        acts session_timeout: Duration = Duration::ZERO,
    }
}

options! {
    /// Logging in a new device with the help of one that is logged in.
    pub struct LoginViaExistingSession {
        /// Whether this is possible.
        acts enabled: bool = false,
        /// Whether the user must confirm it.
        acts require_ui_auth: bool = true,
        /// How long the new device may take.
        acts token_timeout: Duration = Duration::from_secs(300),
    }
}
