//! Logging in, by password or login token.

use std::sync::Arc;

use plexus_base::{AppService, Clock, LimitExceeded, Reservation};
use plexus_protocol::id::UserId;
use plexus_store::repo::{tokens, users};
use plexus_store::{Database, DbError};
use tokio::sync::OnceCell;

use crate::guesses::GuessLimits;
use crate::password::{HashError, MAX_PASSWORD_BYTES, PasswordHasher, Verdict, WeakPassword};
use crate::secret;
use crate::sessions::Sessions;
use crate::settings::Settings;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// 403 `M_FORBIDDEN`: no such user, or a wrong password; the client does not learn which.
    #[error("Invalid username or password")]
    WrongPassword,
    /// 403 `M_FORBIDDEN`
    #[error("Invalid login token")]
    WrongToken,
    /// 403 `M_FORBIDDEN`
    #[error("The user is not one of this application service")]
    NotItsUser,
    /// 403 `M_USER_DEACTIVATED`
    #[error("This account has been deactivated")]
    Deactivated,
    /// 401 `M_USER_LOCKED` with `soft_logout`
    #[error("This account has been locked")]
    Locked,
    /// 429 `M_LIMIT_EXCEEDED`
    #[error(transparent)]
    Limited(#[from] LimitExceeded),
    /// The password could not be hashed or checked.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The policy does not allow the new password.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The password could not be hashed or checked.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The account that a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// A localpart or a user id.
    User(String),
    /// An address bound to the account.
    ThirdParty {
        /// `email` or `msisdn`.
        medium: String,
        /// In the canonical form of the medium.
        address: String,
    },
}

impl From<&UserId> for Identifier {
    fn from(user_id: &UserId) -> Self {
        Self::User(user_id.as_str().to_owned())
    }
}

/// Checks logins, and changes passwords.
#[derive(Clone)]
pub struct Logins {
    db: Database,
    clock: Clock,
    hasher: PasswordHasher,
    sessions: Sessions,
    settings: Arc<Settings>,
    guesses: Arc<GuessLimits>,
    /// The result of [`users::largest_bcrypt_cost`]. It can only become smaller while the server runs: new hashes are
    /// argon2.
    bcrypt_cost: Arc<OnceCell<Option<u32>>>,
}

impl Logins {
    /// Creates the service. `sessions` ends the user's other sessions when a password changes.
    #[must_use]
    pub(crate) fn new(
        db: Database,
        clock: Clock,
        hasher: PasswordHasher,
        sessions: Sessions,
        settings: Arc<Settings>,
        guesses: Arc<GuessLimits>,
    ) -> Self {
        Self { db, clock, hasher, sessions, settings, guesses, bcrypt_cost: Arc::default() }
    }

    /// Returns the user id for a localpart or a user id that a client gave; `None` if it is neither.
    #[must_use]
    pub fn qualified(&self, user: &str) -> Option<UserId> {
        if user.starts_with('@') { user.parse().ok() } else { UserId::new(user, &self.settings.server_name).ok() }
    }

    /// Returns the account that has this password, and replaces a bcrypt hash with argon2id. The caller checks whether
    /// the configuration allows passwords.
    ///
    /// A wrong password gets the same error in about the same time for every name. Only a client that gives the right
    /// password learns that the account is locked or deactivated; a deactivated account has none any more.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn by_password(&self, who: &Identifier, password: &str) -> Result<UserId, LoginError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(LoginError::WrongPassword);
        }
        // By the name that the client gave, not by the account behind it: the budget of an address must not reveal
        // whose it is.
        let guess = self.guesses.password(&match who {
            Identifier::User(user) => self.qualified(user).map_or_else(|| user.clone(), String::from),
            Identifier::ThirdParty { medium, address } => format!("{medium}:{address}"),
        })?;
        self.verified(who, password, guess).await
    }

    /// Checks the password of a user who is logged in and authenticates again. Returns the user, as
    /// [`Self::by_password`] does.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn by_own_password(&self, user_id: &UserId, password: &str) -> Result<UserId, LoginError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(LoginError::WrongPassword);
        }
        let guess = self.guesses.own_password(user_id)?;
        self.verified(&Identifier::from(user_id), password, guess).await
    }

    async fn verified(&self, who: &Identifier, password: &str, guess: Reservation<'_>) -> Result<UserId, LoginError> {
        let user_id = match who {
            Identifier::User(user) => self.qualified(user),
            Identifier::ThirdParty { medium, address } => self.by_threepid(medium, address).await?,
        };
        let user = match &user_id {
            Some(user_id) => self.find(user_id).await?,
            None => None,
        };
        let stored = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let verdict = self.hasher.verify(password, stored, self.bcrypt_cost().await?).await?;
        if let (Some(user), Verdict::UnknownFormat) = (&user, &verdict) {
            let user_id = &user.user_id;
            tracing::warn!("the stored password hash of {user_id} is in an unknown format: no password is right");
        }
        let is_right = !matches!(verdict, Verdict::Wrong | Verdict::UnknownFormat);
        let exists = user.is_some();
        let Some(user) = user.filter(|_| is_right) else {
            log_refusal(user_id.as_ref(), exists);
            return Err(LoginError::WrongPassword);
        };
        guess.give_back();
        if let (Verdict::RightUpgrade(new), Some(old)) = (verdict, user.password_hash.clone()) {
            let owner = user.user_id.clone();
            let upgraded: Result<(), DbError> =
                self.db.write(move |tx| users::upgrade_password_hash(tx, &owner, &old, &new)).await;
            upgraded?;
        }
        match user {
            user if user.deactivated => Err(LoginError::Deactivated),
            user if user.locked => Err(LoginError::Locked),
            user => stored_id(user.user_id),
        }
    }

    /// Returns the largest cost of the bcrypt hashes that accounts have; `None` where none has one.
    async fn bcrypt_cost(&self) -> Result<Option<u32>, DbError> {
        let read = || self.db.read::<_, DbError, _>(users::largest_bcrypt_cost);
        self.bcrypt_cost.get_or_try_init(read).await.copied()
    }

    /// Returns the account with this id. Imported ids may differ in case, as long as only one does.
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

    async fn by_threepid(&self, medium: &str, address: &str) -> Result<Option<UserId>, LoginError> {
        if medium.contains('\0') || address.contains('\0') {
            return Ok(None);
        }
        let (medium, address) = (medium.to_owned(), address.to_owned());
        let found: Option<String> =
            self.db.read::<_, DbError, _>(move |tx| users::by_threepid(tx, &medium, &address)).await?;
        found.map(stored_id).transpose()
    }

    /// Returns the account for which the login token was issued. The token cannot be used again.
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

    /// Returns the account of an application service that a client names.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn by_app_service(&self, service: &AppService, user: &str) -> Result<UserId, LoginError> {
        let user_id = self.qualified(user).ok_or(LoginError::NotItsUser)?;
        if !service.is_interested_in_user(user_id.as_str()) {
            return Err(LoginError::NotItsUser);
        }
        match self.check_active(&user_id).await {
            Err(LoginError::WrongPassword) => Err(LoginError::NotItsUser),
            checked => checked.map(|()| user_id),
        }
    }

    /// Checks that an account exists and may log in.
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

    /// Sets a new password that the policy allows; with `logout_devices` every session except that of the device `keep`
    /// ends.
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
        self.set_password(user_id, new_password, logout_devices, keep).await
    }

    /// As [`Logins::change_password`], whatever the policy says: for administrators.
    ///
    /// # Errors
    /// When the password cannot be hashed, or the database fails.
    pub(crate) async fn set_password(
        &self,
        user_id: &UserId,
        new_password: &str,
        logout_devices: bool,
        keep: Option<String>,
    ) -> Result<(), ChangePasswordError> {
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

/// Logs a refused password in Synapse's words, which tools such as fail2ban look for.
fn log_refusal(user_id: Option<&UserId>, exists: bool) {
    // A name that a client chose must not look like a log record of its own.
    let user_id = user_id.map_or("an unknown user".into(), |user_id| user_id.as_str().escape_debug().to_string());
    if exists {
        tracing::warn!("Failed password login for user {user_id}");
    } else {
        tracing::warn!("Attempted to login as {user_id} but they do not exist");
    }
}

fn stored_id(user_id: String) -> Result<UserId, LoginError> {
    UserId::try_from(user_id).map_err(|error| LoginError::Database(DbError::bad_data("users.user_id", error)))
}
