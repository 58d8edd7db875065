use std::sync::Arc;

use plexus_base::AppService;
use plexus_protocol::id::UserId;

/// The user who makes a request, by the access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The user whose access token it is.
    pub user_id: UserId,
    /// `None` for tokens that belong to no device (an admin acting as the user, an application service).
    pub device_id: Option<String>,
    /// The access token's number in the database.
    pub token_id: i64,
    /// Whether the account is a guest's.
    pub is_guest: bool,
    /// A server administrator.
    pub is_admin: bool,
    /// The application service that created the account, if one did; not the one that makes the request.
    pub appservice_id: Option<String>,
    /// The application service that makes the request as the user.
    pub acting_service: Option<Arc<AppService>>,
    /// Whether the account is suspended: the user may read and leave, but not write.
    pub suspended: bool,
    /// Whether the account is shadow-banned: what the user writes seems to be sent, and reaches nobody.
    pub shadow_banned: bool,
    /// The administrator who acts as `user_id`, if one does.
    pub puppeted_by: Option<UserId>,
}

impl Requester {
    /// Whether the rate limits of users apply. Those of application services' own users never do.
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.acting_service.as_ref().is_none_or(|service| service.is_limited_as(self.user_id.as_str()))
    }

    /// Whether the request is of an application service that manages devices without interactive authentication
    /// (MSC4190).
    #[must_use]
    pub fn manages_devices(&self) -> bool {
        self.acting_service.as_ref().is_some_and(|service| service.msc4190)
    }
}
