//! Checks of options of more than one section.

use super::listeners::is_address;
use super::{Config, Listener, ListenerType};
use crate::schema::MapReader;

pub(super) fn check(mut config: Config, map: &mut MapReader<'_, '_>) -> Config {
    check_open_registration(&config, map);
    if config.has_accounts_elsewhere() && !map.sets("enable_3pid_changes") {
        config.registration.enable_3pid_changes = false;
    }
    if let Some(port) = config.metrics.metrics_port.filter(|port| *port > 0) {
        map.warn("metrics_port", "the form is old; add a listener of type metrics");
        let host = config.metrics.metrics_bind_host.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
        if !is_address(&host) {
            map.error("metrics_bind_host", format!("found {host:?}; allowed is an IP address"));
        }
        config.server.listeners.push(Listener::for_metrics(port, host));
    }
    let metrics = |listener: &Listener| listener.r#type == ListenerType::Metrics;
    if !config.metrics.enable_metrics && config.server.listeners.iter().any(metrics) {
        map.warn("listeners", "the listener of type metrics is not opened, because enable_metrics is not true");
    }
    let email = config.server.email.as_ref();
    if let Some(redact) = email.and_then(|email| email.redact_content) {
        map.warn("email", "redact_content is old; use push.include_content");
        config.push.push.include_content &= !redact;
    }
    config
}

impl Config {
    /// Whether Matrix Authentication Service manages accounts.
    fn has_accounts_elsewhere(&self) -> bool {
        self.server.matrix_authentication_service.enabled
    }
}

/// Whether a refused option would have no effect in Synapse either, because of another option.
pub(super) fn is_idle(config: &Config, option: &str) -> bool {
    match option {
        "user_consent.require_at_registration" => !config.registration.enable_registration,
        "worker_app" => config.workers.worker_app.as_deref() == Some("synapse.app.homeserver"),
        _ => false,
    }
}

/// Spammers look for servers with open registration.
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
