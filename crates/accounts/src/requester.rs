use plexus_protocol::id::UserId;

/// Who makes a request: what an access token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    pub user_id: UserId,
    /// `None` for tokens that belong to no device (an admin acting as the user, an application service).
    pub device_id: Option<String>,
    pub token_id: i64,
    pub is_guest: bool,
    /// A server administrator.
    pub is_admin: bool,
    /// The application service that created the account, if one did.
    pub appservice_id: Option<String>,
    pub suspended: bool,
    pub shadow_banned: bool,
    /// When an administrator acts as `user_id`: the administrator.
    pub puppeted_by: Option<UserId>,
}
