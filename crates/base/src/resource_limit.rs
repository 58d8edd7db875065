/// A limit of the whole server is reached: 403 `M_RESOURCE_LIMIT_EXCEEDED`
/// (<https://spec.matrix.org/v1.19/client-server-api/#server-notices>).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ResourceLimitExceeded {
    /// What the client shows to the user.
    pub message: String,
    /// How users reach the administrator: `admin_contact`, usually a URI.
    pub admin_contact: Option<String>,
    /// Which limit it is: `hs_disabled`.
    pub limit_type: &'static str,
}
