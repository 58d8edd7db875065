//! Which users may write to rooms, by the limits of the whole server.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use plexus_accounts::{UsageError, UsageLimits};
use plexus_protocol::id::UserId;
use plexus_rooms::{SendError, SendPermission};

/// Lets those users write who may use the server.
pub struct WithinUsageLimits(UsageLimits);

impl WithinUsageLimits {
    /// Creates the permission.
    #[must_use]
    pub fn new(limits: UsageLimits) -> Self {
        Self(limits)
    }
}

impl SendPermission for WithinUsageLimits {
    fn check<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, Result<(), SendError>> {
        async move {
            self.0.check(user).await.map_err(|error| match error {
                UsageError::Exceeded(exceeded) => exceeded.into(),
                UsageError::Database(error) => error.into(),
            })
        }
        .boxed()
    }
}
