//! Requests of application services, which act as users (application service API, "Identity assertion").

use std::sync::Arc;

use plexus_base::AppService;
use plexus_protocol::id::UserId;
use plexus_store::DbError;
use plexus_store::repo::{devices, tokens, users};

use crate::last_seen::Seen;
use crate::{Requester, TokenChecker, TokenError, secret};

/// The user and the device that an application service makes a request for.
#[derive(Debug, Clone, Default)]
pub struct ActingAs {
    /// `None`: its own user.
    pub user_id: Option<String>,
    /// `None`: no device.
    pub device_id: Option<String>,
}

/// Why a request of an application service is refused.
#[derive(Debug, thiserror::Error)]
pub enum ActingError {
    /// 401 `M_UNKNOWN_TOKEN`: requests do not come from there.
    #[error("the application service may not make requests from this address")]
    Address,
    /// 403 `M_FORBIDDEN`
    #[error("Application service cannot masquerade as this user ({0}).")]
    NotItsUser(String),
    /// 403 `M_FORBIDDEN`
    #[error("Application service has not registered this user ({0})")]
    NotRegistered(String),
    /// 400 `M_UNKNOWN_DEVICE`
    #[error("Application service trying to use a device that doesn't exist ('{device_id}' for {user_id})")]
    UnknownDevice {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
    },
    /// The account is locked: `M_USER_LOCKED`. Logging out is still allowed.
    #[error("the account is locked")]
    Locked(Arc<Requester>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl TokenChecker {
    /// Returns the application service whose token this is.
    #[must_use]
    pub fn app_service(&self, token: &str) -> Option<Arc<AppService>> {
        self.app_services.current()?.by_as_token(token).cloned()
    }

    /// Returns the requester of a request that an application service makes for a user.
    ///
    /// # Errors
    /// See [`ActingError`].
    pub async fn check_app_service(
        &self,
        service: &Arc<AppService>,
        acting_as: ActingAs,
        seen: Seen<'_>,
    ) -> Result<Arc<Requester>, ActingError> {
        if !service.may_connect_from(seen.ip) {
            return Err(ActingError::Address);
        }
        let ActingAs { user_id, device_id } = acting_as;
        let name = user_id.unwrap_or_else(|| service.sender.clone());
        if !service.is_interested_in_user(&name) {
            return Err(ActingError::NotItsUser(name));
        }
        let Ok(user_id) = UserId::try_from(name.as_str()) else { return Err(ActingError::NotItsUser(name)) };
        let (user, device) = self.account(&user_id, device_id.clone()).await?;
        let Some(user) = user.filter(|user| !user.deactivated) else { return Err(ActingError::NotRegistered(name)) };
        if let (Some(device_id), false) = (&device_id, device) {
            return Err(ActingError::UnknownDevice { user_id: name, device_id: device_id.clone() });
        }
        if let (Some(device_id), true) = (&device_id, self.records_app_services) {
            self.last_seen.record(&user_id, device_id, seen, self.clock.now_ms());
        }
        let requester = Arc::new(Requester {
            user_id,
            device_id,
            token_id: tokens::token_id(&secret::hash(service.as_token.expose())),
            is_guest: user.is_guest,
            is_admin: user.is_admin,
            appservice_id: user.appservice_id,
            acting_service: Some(Arc::clone(service)),
            suspended: user.suspended,
            shadow_banned: user.shadow_banned,
            puppeted_by: None,
        });
        if user.locked { Err(ActingError::Locked(requester)) } else { Ok(requester) }
    }

    /// Checks at the end of a request of an application service that waited whether the service could still make it.
    pub(crate) async fn check_service_after_wait(&self, token: &str, requester: &Requester) -> Result<(), TokenError> {
        let Requester { user_id, device_id, .. } = requester;
        let service = self.app_service(token).filter(|service| service.is_interested_in_user(user_id.as_str()));
        let (user, has_device) = self.account(user_id, device_id.clone()).await?;
        match user.filter(|user| !user.deactivated && service.is_some() && (has_device || device_id.is_none())) {
            Some(user) if user.locked => Err(TokenError::Locked(Arc::new(requester.clone()))),
            Some(_) => Ok(()),
            None => Err(TokenError::Unknown),
        }
    }

    /// Returns an account, and whether it has the device.
    async fn account(
        &self,
        user_id: &UserId,
        device_id: Option<String>,
    ) -> Result<(Option<users::User>, bool), DbError> {
        let user_id = user_id.to_string();
        self.db
            .read(move |tx| {
                let has_device = match &device_id {
                    Some(device) if !device.contains('\0') => devices::get(tx, &user_id, device)?.is_some(),
                    _ => false,
                };
                Ok((users::get(tx, &user_id)?, has_device))
            })
            .await
    }
}
