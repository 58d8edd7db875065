//! What concerns options of more than one section.

use super::Config;
use crate::schema::MapReader;

pub(super) fn check(mut config: Config, map: &mut MapReader<'_, '_>) -> Config {
    check_open_registration(&config, map);
    if config.has_accounts_elsewhere() && !map.sets("enable_3pid_changes") {
        config.registration.enable_3pid_changes = false;
    }
    let email = config.server.email.as_ref();
    if let Some(redact) = email.and_then(|email| email.redact_content) {
        map.warn("email", "redact_content is old; use push.include_content");
        config.push.push.include_content &= !redact;
    }
    config
}

impl Config {
    /// True when Matrix Authentication Service manages accounts.
    fn has_accounts_elsewhere(&self) -> bool {
        self.server.matrix_authentication_service.enabled
    }
}

/// Spammers look for servers where registration is open to programs.
fn check_open_registration(config: &Config, map: &mut MapReader<'_, '_>) {
    let registration = &config.registration;
    let verified = registration.registration_requires_token
        || config.captcha.enable_registration_captcha
        || !registration.registrations_require_3pid.is_empty();
    if registration.enable_registration && !verified && !registration.enable_registration_without_verification {
        map.error(
            "enable_registration",
            "true without any verification, which spammers look for; allowed is true together with \
             registration_requires_token, enable_registration_captcha or registrations_require_3pid, or, for a server \
             that strangers cannot reach, with enable_registration_without_verification",
        );
    }
}
