//! Requests of application services about themselves.

pub(crate) mod request_ping;
pub(crate) mod set_room_visibility;

/// The type of registrations and logins by application services.
pub(crate) const APP_SERVICE: &str = "m.login.application_service";
