//! What administrators do with the accounts of others.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_store::repo::devices::Device;
use plexus_store::repo::users::{self, User};
use plexus_store::{Database, DbError};

use crate::login::ChangePasswordError;
use crate::settings::Settings;
use crate::{Devices, Logins, Sessions};

/// Accounts on one page of [`Administration::list`].
pub const PAGE_ACCOUNTS: u32 = 500;

/// Why an account was not found or not changed.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// The text is neither a localpart nor a user id.
    #[error("{0:?} is not a user's name: write it as alice, or as @alice:{1}")]
    NotAUser(String, String),
    /// The user id names another server.
    #[error("{0} is a user of another server; this server is {1}")]
    Elsewhere(String, String),
    /// There is no such account.
    #[error("there is no user {0}; `plexus user list` shows all")]
    Unknown(UserId),
    /// The account is closed for good.
    #[error("{0} is deactivated, which is for good")]
    Deactivated(UserId),
    /// The password could not be hashed or stored.
    #[error(transparent)]
    Password(#[from] ChangePasswordError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Reads and changes accounts. The caller checks that whoever asks may do that.
#[derive(Clone)]
pub struct Administration {
    db: Database,
    sessions: Sessions,
    logins: Logins,
    devices: Devices,
    settings: Arc<Settings>,
}

impl Administration {
    pub(crate) fn new(
        db: Database,
        sessions: Sessions,
        logins: Logins,
        devices: Devices,
        settings: Arc<Settings>,
    ) -> Self {
        Self { db, sessions, logins, devices, settings }
    }

    /// Returns the next [`PAGE_ACCOUNTS`] accounts after the user id `after` (empty: from the first on), by user id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, after: String) -> Result<Vec<User>, DbError> {
        self.db.read(move |tx| users::page(tx, &after, PAGE_ACCOUNTS)).await
    }

    /// Returns an account and its devices. `name` is a localpart or a whole user id.
    ///
    /// # Errors
    /// When there is no such account, or the database fails.
    pub async fn get(&self, name: &str) -> Result<(User, Vec<Device>), AdministrationError> {
        let (user_id, user) = self.find(name).await?;
        Ok((user, self.devices.list(&user_id).await?))
    }

    /// Returns the id and the account of a user. Imported user ids may have capital letters, so a name in another case
    /// is found, too, if there is only one.
    ///
    /// # Errors
    /// When there is no such account, or the database fails.
    pub async fn find(&self, name: &str) -> Result<(UserId, User), AdministrationError> {
        let server_name = &self.settings.server_name;
        let wanted = if name.starts_with('@') { name.to_owned() } else { format!("@{name}:{server_name}") };
        let not_a_user = || AdministrationError::NotAUser(name.to_owned(), server_name.to_string());
        let wanted = UserId::try_from(wanted).map_err(|_| not_a_user())?;
        if wanted.server_name() != server_name.as_str() {
            return Err(AdministrationError::Elsewhere(name.to_owned(), server_name.to_string()));
        }
        let id = wanted.clone();
        let mut found = self.db.read(move |tx| users::get_ignoring_case(tx, id.as_str())).await?;
        let exact = found.iter().position(|user| user.user_id == wanted.as_str());
        let user = match exact {
            Some(index) => found.swap_remove(index),
            None if found.len() == 1 => found.swap_remove(0),
            None => return Err(AdministrationError::Unknown(wanted)),
        };
        let user_id = UserId::try_from(user.user_id.clone());
        Ok((user_id.map_err(|error| DbError::bad_data("users.user_id", error))?, user))
    }

    async fn find_active(&self, name: &str) -> Result<(UserId, User), AdministrationError> {
        match self.find(name).await? {
            (user_id, user) if user.deactivated => Err(AdministrationError::Deactivated(user_id)),
            found => Ok(found),
        }
    }

    /// Sets a new password, whatever the password policy says; with `end_sessions` the user has to log in again
    /// everywhere.
    ///
    /// # Errors
    /// When there is no such active account, or the database fails.
    pub async fn set_password(
        &self,
        name: &str,
        password: &str,
        end_sessions: bool,
    ) -> Result<UserId, AdministrationError> {
        let (user_id, _) = self.find_active(name).await?;
        self.logins.set_password(&user_id, password, end_sessions, None).await?;
        Ok(user_id)
    }

    /// Makes the user an administrator, or takes that back. Returns false if nothing had to be changed.
    ///
    /// # Errors
    /// When there is no such active account, or the database fails.
    pub async fn set_admin(&self, name: &str, admin: bool) -> Result<(UserId, bool), AdministrationError> {
        let (user_id, user) = self.find_active(name).await?;
        self.sessions.set_admin(&user_id, admin).await?;
        Ok((user_id, user.is_admin != admin))
    }

    /// Locks or unlocks an account: a locked one can do nothing but log out, and is as before once it is unlocked.
    /// Returns false if nothing had to be changed.
    ///
    /// # Errors
    /// When there is no such active account, or the database fails.
    pub async fn set_locked(&self, name: &str, locked: bool) -> Result<(UserId, bool), AdministrationError> {
        let (user_id, user) = self.find_active(name).await?;
        self.sessions.change_user(&user_id, move |tx, user_id| users::set_locked(tx, user_id, locked)).await?;
        Ok((user_id, user.locked != locked))
    }

    /// Suspends an account, whose user then may read and leave but not write, or ends that. Returns false if nothing
    /// had to be changed.
    ///
    /// # Errors
    /// When there is no such active account, or the database fails.
    pub async fn set_suspended(&self, name: &str, suspended: bool) -> Result<(UserId, bool), AdministrationError> {
        let (user_id, user) = self.find_active(name).await?;
        self.sessions.change_user(&user_id, move |tx, user_id| users::set_suspended(tx, user_id, suspended)).await?;
        Ok((user_id, user.suspended != suspended))
    }

    /// Shadow-bans an account, or ends that: what a shadow-banned user writes seems to be sent, and reaches nobody.
    /// Returns false if nothing had to be changed.
    ///
    /// # Errors
    /// When there is no such active account, or the database fails.
    pub async fn set_shadow_banned(&self, name: &str, banned: bool) -> Result<(UserId, bool), AdministrationError> {
        let (user_id, user) = self.find_active(name).await?;
        self.sessions.change_user(&user_id, move |tx, user_id| users::set_shadow_banned(tx, user_id, banned)).await?;
        Ok((user_id, user.shadow_banned != banned))
    }
}
