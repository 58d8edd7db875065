//! Registering users: the account, then the rooms that every new user is in.

use std::sync::Arc;

use plexus_accounts::{NewAccount, NewSession, RegisterError, Registered, Registrar};
use plexus_protocol::id::UserId;
use plexus_rooms::AutoJoin;

/// Registers users and lets them join the rooms of `auto_join_rooms`.
#[derive(Clone)]
pub struct Registration {
    registrar: Registrar,
    auto_join: Arc<AutoJoin>,
}

impl Registration {
    /// Creates the service.
    #[must_use]
    pub fn new(registrar: Registrar, auto_join: Arc<AutoJoin>) -> Self {
        Self { registrar, auto_join }
    }

    /// Registers a user.
    ///
    /// # Errors
    /// See [`RegisterError`]. That a room cannot be joined is no error.
    pub async fn register(&self, account: NewAccount) -> Result<Registered, RegisterError> {
        let registered = self.registrar.register(account).await?;
        self.auto_join.welcome(&registered.user_id, false).await;
        Ok(registered)
    }

    /// Registers a guest.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub async fn register_guest(&self, session: NewSession) -> Result<Registered, RegisterError> {
        let registered = self.registrar.register_guest(session).await?;
        self.auto_join.welcome(&registered.user_id, true).await;
        Ok(registered)
    }

    /// Makes up for rooms that a user, registered before, may not have joined yet.
    pub async fn resume(&self, user: &UserId) {
        self.auto_join.welcome(user, false).await;
    }
}
