//! Sessions that begin with a login.

use std::sync::Arc;

use plexus_accounts::{NewSession, Session, SessionError, Sessions};
use plexus_net::policy_hooks::ClientInfo;
use plexus_net::{PolicyHooks, PolicyRefusal};
use plexus_protocol::id::UserId;

/// Starts the sessions of users who have logged in.
#[derive(Clone)]
pub struct LoginSessions {
    sessions: Sessions,
    policy_hooks: Option<Arc<PolicyHooks>>,
}

/// Why a session was not started.
#[derive(Debug, thiserror::Error)]
pub enum LoginSessionError {
    /// A policy hook refuses the login.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// See [`SessionError`].
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl LoginSessions {
    /// Creates the service.
    #[must_use]
    pub fn new(sessions: Sessions, policy_hooks: Option<Arc<PolicyHooks>>) -> Self {
        Self { sessions, policy_hooks }
    }

    /// Starts a session of a user who has shown who they are.
    ///
    /// # Errors
    /// See [`LoginSessionError`].
    pub async fn start(
        &self,
        user: &UserId,
        session: NewSession,
        client: &ClientInfo,
    ) -> Result<Session, LoginSessionError> {
        if let Some(hooks) = &self.policy_hooks {
            let (device, name) = (session.device_id.as_deref(), session.initial_device_display_name.as_deref());
            hooks.check_login_for_spam(user, device, name, client).await?;
        }
        Ok(self.sessions.start(user, session).await?)
    }
}
