//! Registering users: the account, then the rooms that every new user is in.

use std::sync::Arc;

use plexus_accounts::{NewAccount, NewSession, RegisterError, Registered, Registrar};
use plexus_net::policy_hooks::{ClientInfo, RegistrationVerdict};
use plexus_net::{PolicyHooks, PolicyRefusal};
use plexus_protocol::id::UserId;
use plexus_rooms::AutoJoin;

/// Registers users and lets them join the rooms of `auto_join_rooms`.
#[derive(Clone)]
pub struct Registration {
    registrar: Registrar,
    auto_join: Arc<AutoJoin>,
    policy_hooks: Option<Arc<PolicyHooks>>,
}

/// Why an account was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// A policy hook refuses it.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// See [`RegisterError`].
    #[error(transparent)]
    Account(#[from] RegisterError),
}

impl Registration {
    /// Creates the service.
    #[must_use]
    pub fn new(registrar: Registrar, auto_join: Arc<AutoJoin>, policy_hooks: Option<Arc<PolicyHooks>>) -> Self {
        Self { registrar, auto_join, policy_hooks }
    }

    /// Registers a user. `client`: where the request comes from, if it is the user's.
    ///
    /// # Errors
    /// See [`RegistrationError`]. That a room cannot be joined is no error.
    pub async fn register(
        &self,
        mut account: NewAccount,
        client: Option<ClientInfo>,
    ) -> Result<Registered, RegistrationError> {
        if let Some(hooks) = &self.policy_hooks {
            let verdict = hooks.check_registration_for_spam(account.username.as_deref(), client.as_slice()).await?;
            account.shadow_banned |= verdict == RegistrationVerdict::ShadowBan;
        }
        let registered = self.registrar.register(account).await?;
        self.auto_join.welcome(&registered.user_id, false).await;
        Ok(registered)
    }

    /// Registers a guest.
    ///
    /// # Errors
    /// See [`RegistrationError`].
    pub async fn register_guest(
        &self,
        session: NewSession,
        client: ClientInfo,
    ) -> Result<Registered, RegistrationError> {
        let mut account = NewAccount { session: Some(session), ..NewAccount::default() };
        if let Some(hooks) = &self.policy_hooks {
            let verdict = hooks.check_registration_for_spam(None, &[client]).await?;
            account.shadow_banned = verdict == RegistrationVerdict::ShadowBan;
        }
        let registered = self.registrar.register_guest(account).await?;
        self.auto_join.welcome(&registered.user_id, true).await;
        Ok(registered)
    }

    /// Makes up for rooms that a user, registered before, may not have joined yet.
    pub async fn resume(&self, user: &UserId) {
        self.auto_join.welcome(user, false).await;
    }
}
