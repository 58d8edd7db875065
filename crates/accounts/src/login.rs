//! Logging in: who the user is, by password or login token.

use std::sync::Arc;

use plexus_base::Clock;
use plexus_protocol::id::UserId;
use plexus_store::repo::{tokens, users};
use plexus_store::{Database, DbError};

use crate::password::{HashError, MAX_PASSWORD_BYTES, PasswordHasher, Verdict, WeakPassword};
use crate::secret;
use crate::sessions::Sessions;
use crate::settings::Settings;

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// 403 `M_FORBIDDEN`: no such user or wrong password; it is not told which.
    #[error("Invalid username or password")]
    WrongPassword,
    /// 403 `M_FORBIDDEN`
    #[error("Invalid login token")]
    WrongToken,
    /// 403 `M_USER_DEACTIVATED`
    #[error("This account has been deactivated")]
    Deactivated,
    /// 401 `M_USER_LOCKED` with `soft_logout`
    #[error("This account has been locked")]
    Locked,
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Checks and changes what users log in with.
#[derive(Clone)]
pub struct Logins {
    db: Database,
    clock: Clock,
    hasher: PasswordHasher,
    sessions: Sessions,
    settings: Arc<Settings>,
}

impl Logins {
    /// `sessions` ends the others when a password changes.
    #[must_use]
    pub fn new(
        db: Database,
        clock: Clock,
        hasher: PasswordHasher,
        sessions: Sessions,
        settings: Arc<Settings>,
    ) -> Self {
        Self { db, clock, hasher, sessions, settings }
    }

    /// The full user id of what a client gives as a user: a localpart or a user id. `None` when it is neither.
    #[must_use]
    pub fn qualified(&self, user: &str) -> Option<UserId> {
        match user.starts_with('@') {
            true => user.parse().ok(),
            false => UserId::new(user, &self.settings.server_name).ok(),
        }
    }

    /// The account this password belongs to. A bcrypt hash is replaced by argon2id. Whether the configuration allows
    /// passwords is the caller's to check. Without a user id, which is what a wrong name comes to, it only takes its time.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn by_password(&self, user_id: Option<&UserId>, password: &str) -> Result<UserId, LoginError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(LoginError::WrongPassword);
        }
        let user = match user_id {
            Some(user_id) => self.find(user_id).await?,
            None => None,
        };
        let Some(user) = user else {
            self.hasher.pretend(password).await?;
            return Err(LoginError::WrongPassword);
        };
        if user.deactivated {
            return Err(LoginError::Deactivated);
        }
        let Some(stored) = user.password_hash else {
            self.hasher.pretend(password).await?;
            return Err(LoginError::WrongPassword);
        };
        match self.hasher.verify(password, &stored).await? {
            Verdict::Wrong => return Err(LoginError::WrongPassword),
            Verdict::Right => {}
            Verdict::RightUpgrade(new) => {
                let owner = user.user_id.clone();
                let upgraded: Result<(), DbError> =
                    self.db.write(move |tx| users::upgrade_password_hash(tx, &owner, &stored, &new)).await;
                upgraded?;
            }
        }
        if user.locked {
            return Err(LoginError::Locked);
        }
        stored_id(user.user_id)
    }

    /// The account with this id; imported ones may differ in case, as long as only one does.
    async fn find(&self, user_id: &UserId) -> Result<Option<users::User>, DbError> {
        let user_id = user_id.clone();
        self.db
            .read(move |tx| {
                let mut found = users::get_ignoring_case(tx, user_id.as_str())?;
                if let Some(exact) = found.iter().position(|user| user.user_id == user_id.as_str()) {
                    return Ok(Some(found.swap_remove(exact)));
                }
                Ok(if found.len() == 1 { found.pop() } else { None })
            })
            .await
    }

    /// The account that has a third-party identifier.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn by_threepid(&self, medium: &str, address: &str) -> Result<Option<UserId>, LoginError> {
        if medium.contains('\0') || address.contains('\0') {
            return Ok(None);
        }
        let (medium, address) = (medium.to_owned(), address.to_owned());
        let found: Option<String> =
            self.db.read::<_, DbError, _>(move |tx| users::by_threepid(tx, &medium, &address)).await?;
        found.map(stored_id).transpose()
    }

    /// The account a login token was issued for. The token is spent.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn by_token(&self, token: &str) -> Result<UserId, LoginError> {
        let hash = secret::hash(token);
        let now = self.clock.now_ms();
        let taken: Option<(UserId, u64)> =
            self.db.write::<_, DbError, _>(move |tx| tokens::take_login_token(tx, &hash)).await?;
        let (user_id, _) = taken.filter(|(_, until)| now < *until).ok_or(LoginError::WrongToken)?;
        self.check_active(&user_id).await?;
        Ok(user_id)
    }

    /// That an account exists and may log in.
    ///
    /// # Errors
    /// `WrongPassword` when there is no such account, else see [`LoginError`].
    pub async fn check_active(&self, user_id: &UserId) -> Result<(), LoginError> {
        let wanted = user_id.clone();
        let user = self.db.read::<_, DbError, _>(move |tx| users::get(tx, wanted.as_str())).await?;
        match user {
            None => Err(LoginError::WrongPassword),
            Some(user) if user.deactivated => Err(LoginError::Deactivated),
            Some(user) if user.locked => Err(LoginError::Locked),
            Some(_) => Ok(()),
        }
    }

    /// Whether the account has a password with which it can authorise requests.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_password(&self, user_id: &UserId) -> Result<bool, DbError> {
        if !self.settings.password.for_reauth {
            return Ok(false);
        }
        let user_id = user_id.clone();
        let user = self.db.read(move |tx| users::get(tx, user_id.as_str())).await?;
        Ok(user.is_some_and(|user| user.password_hash.is_some()))
    }

    /// Sets a new password; with `logout_devices` every session except the one on `keep` ends.
    ///
    /// # Errors
    /// See [`ChangePasswordError`].
    pub async fn change_password(
        &self,
        user_id: &UserId,
        new_password: &str,
        logout_devices: bool,
        keep: Option<String>,
    ) -> Result<(), ChangePasswordError> {
        self.settings.password.policy.check(new_password)?;
        let hash = self.hasher.hash(new_password).await?;
        let (sessions, user_id) = (self.sessions.clone(), user_id.clone());
        self.db
            .write(move |tx| {
                users::set_password_hash(tx, user_id.as_str(), Some(&hash))?;
                if logout_devices {
                    sessions.end_all_in(tx, &user_id, keep.as_deref())?;
                }
                Ok::<_, DbError>(())
            })
            .await?;
        Ok(())
    }
}

fn stored_id(user_id: String) -> Result<UserId, LoginError> {
    UserId::try_from(user_id).map_err(|error| LoginError::Database(DbError::bad_data("users.user_id", error)))
}
