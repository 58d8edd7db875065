//! Limits on who may use the server at all.

use plexus_base::ResourceLimitExceeded;
use plexus_protocol::id::UserId;
use plexus_store::repo::users;
use plexus_store::{Database, DbError};

use crate::Requester;

/// The accounts that help users: they are not limited.
const SUPPORT: &str = "support";

/// A server that is disabled (`hs_disabled`).
#[derive(Debug, Clone)]
pub struct DisabledServer {
    /// The reason, for the error message.
    pub message: String,
    /// How users reach the administrator.
    pub admin_contact: Option<String>,
    /// The user who sends server notices, and goes on doing so.
    pub notices_user: Option<UserId>,
    /// Whether application services are limited like users (`track_appservice_user_ips`).
    pub limits_app_services: bool,
}

/// Why somebody may not use the server.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// 403 `M_RESOURCE_LIMIT_EXCEEDED`
    #[error(transparent)]
    Exceeded(#[from] ResourceLimitExceeded),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Refuses logins, registrations, syncs and writes of a disabled server. A server that is not disabled has none.
#[derive(Clone)]
pub struct UsageLimits {
    db: Database,
    disabled: DisabledServer,
}

impl UsageLimits {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, disabled: DisabledServer) -> Self {
        Self { db, disabled }
    }

    /// Returns the error for somebody who wants to register.
    #[must_use]
    pub fn refusal(&self) -> ResourceLimitExceeded {
        ResourceLimitExceeded {
            message: self.disabled.message.clone(),
            admin_contact: self.disabled.admin_contact.clone(),
            limit_type: "hs_disabled",
        }
    }

    /// Checks that a user may log in or write: accounts that help users may, and those of application services.
    ///
    /// # Errors
    /// See [`UsageError`].
    pub async fn check(&self, user: &UserId) -> Result<(), UsageError> {
        if self.disabled.notices_user.as_ref() == Some(user) {
            return Ok(());
        }
        let id = user.clone();
        let account = self.db.read::<_, DbError, _>(move |tx| users::get(tx, id.as_str())).await?;
        let is_exempt = account.is_some_and(|account| {
            let of_service = account.appservice_id.is_some() && !self.disabled.limits_app_services;
            account.user_type.as_deref() == Some(SUPPORT) || of_service
        });
        if is_exempt { Ok(()) } else { Err(self.refusal().into()) }
    }

    /// As [`Self::check`], of the user who makes a request.
    ///
    /// # Errors
    /// See [`UsageError`].
    pub async fn check_requester(&self, requester: &Requester) -> Result<(), UsageError> {
        if requester.acting_service.is_some() && !self.disabled.limits_app_services {
            return Ok(());
        }
        self.check(&requester.user_id).await
    }
}
