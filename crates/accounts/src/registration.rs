//! New accounts.

use std::net::IpAddr;
use std::sync::Arc;

use plexus_base::{AppService, AppServices, Clock, LimitExceeded, Random};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Value;
use plexus_store::repo::profiles;
use plexus_store::repo::{registration_tokens, ui_auth, users};
use plexus_store::{Database, DbError, Tx};

use crate::guesses::GuessLimits;
use crate::password::{HashError, PasswordHasher, WeakPassword};
use crate::sessions::{NewSession, Plan, Session, SessionError, Sessions};
use crate::settings::Settings;
use crate::username::{self, UsernameError};

/// How many generated usernames are tried before registration fails.
const ATTEMPTS: u32 = 5;

/// Why an account could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// `M_INVALID_USERNAME`
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// `M_USER_IN_USE`
    #[error("User ID already taken.")]
    UserInUse,
    /// `M_EXCLUSIVE`
    #[error("This user ID is reserved by an application service.")]
    Reserved,
    /// `M_EXCLUSIVE`
    #[error("This user ID is reserved.")]
    NoticesUser,
    /// `M_EXCLUSIVE`
    #[error("Invalid user localpart for this application service.")]
    NotItsUser,
    /// `M_INVALID_PARAM`: the name is longer than this many characters.
    #[error("displayname is too long (max {0})")]
    DisplayName(usize),
    /// See [`WeakPassword`].
    #[error(transparent)]
    Password(#[from] WeakPassword),
    /// The first session could not be started.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// `M_FORBIDDEN`
    #[error("The session has registered an account already.")]
    SessionSpent,
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why a registration token was not checked.
#[derive(Debug, thiserror::Error)]
pub enum TokenQuestionError {
    /// 429 `M_LIMIT_EXCEEDED`
    #[error(transparent)]
    Limited(#[from] LimitExceeded),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The account to register.
#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    /// `None`: one is generated.
    pub username: Option<String>,
    /// `None`: the user cannot log in with a password.
    pub password: Option<String>,
    /// `None`: the localpart.
    pub display_name: Option<String>,
    /// Whether the user is a server administrator.
    pub is_admin: bool,
    /// `None`, `"bot"` or `"support"`.
    pub user_type: Option<String>,
    /// The guest whose account becomes this one; whoever registers has shown that guest's access token. The account
    /// keeps its name, profile and rooms, and loses its sessions.
    pub guest: Option<UserId>,
    /// The user-interactive authentication session that allowed this registration, and no other: the registration token
    /// it used is counted, and repeating the request with the same session returns the same user.
    pub ui_auth_session: Option<ui_auth::Session>,
    /// `None`: no login (`inhibit_login`).
    pub session: Option<NewSession>,
    /// Whether to skip the password policy: for administrators.
    pub any_password: bool,
    /// Whether the user is shadow-banned from the start.
    pub shadow_banned: bool,
    /// The application service that registers the account.
    pub app_service: Option<Arc<AppService>>,
}

/// The new account, and the session if one was asked for.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The new user.
    pub user_id: UserId,
    /// The first session, unless the account was registered without login.
    pub session: Option<Session>,
}

/// Registers accounts. The caller checks whether that is allowed: by the configuration, user-interactive authentication
/// or the shared secret.
#[derive(Clone)]
pub struct Registrar {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) hasher: PasswordHasher,
    /// Starts the sessions of new accounts.
    pub(crate) sessions: Sessions,
    pub(crate) settings: Arc<Settings>,
    pub(crate) guesses: Arc<GuessLimits>,
    pub(crate) app_services: Arc<AppServices>,
}

impl Registrar {
    /// Returns the user id that a username stands for, if it is valid and free.
    ///
    /// # Errors
    /// `Username`, `Reserved`, `UserInUse`, or the database's.
    pub async fn check_username(&self, username: &str) -> Result<UserId, RegisterError> {
        let user_id = self.user_id(username)?;
        self.require_not_notices_user(&user_id)?;
        if self.app_services.is_user_reserved(user_id.as_str(), None) {
            return Err(RegisterError::Reserved);
        }
        self.require_free(user_id).await
    }

    /// Checks that the name is not that of the user who sends server notices, also when case is ignored.
    fn require_not_notices_user(&self, user_id: &UserId) -> Result<(), RegisterError> {
        let notices_user = self.settings.registration.notices_user.as_ref();
        let is_it = notices_user.is_some_and(|reserved| reserved.as_str().eq_ignore_ascii_case(user_id.as_str()));
        if is_it { Err(RegisterError::NoticesUser) } else { Ok(()) }
    }

    async fn require_free(&self, user_id: UserId) -> Result<UserId, RegisterError> {
        let wanted = user_id.clone();
        let taken: bool = self
            .db
            .read(move |tx| users::get_ignoring_case(tx, wanted.as_str()).map(|found| !found.is_empty()))
            .await?;
        if taken { Err(RegisterError::UserInUse) } else { Ok(user_id) }
    }

    fn user_id(&self, username: &str) -> Result<UserId, UsernameError> {
        let allow_underscore = self.settings.registration.allow_underscore_prefixed_registration;
        username::new_user_id(username, &self.settings.server_name, allow_underscore)
    }

    /// Returns the user that a service may register by this name. Its names need not follow the rules for people's.
    fn user_of_service(&self, service: &AppService, username: &str) -> Result<UserId, RegisterError> {
        if username.is_empty() {
            return Err(UsernameError::Empty.into());
        }
        let user_id = UserId::new(username, &self.settings.server_name).map_err(|_| UsernameError::Characters)?;
        if !service.is_interested_in_user(user_id.as_str()) {
            return Err(RegisterError::NotItsUser);
        }
        self.require_not_notices_user(&user_id)?;
        if self.app_services.is_user_reserved(user_id.as_str(), Some(&service.id)) {
            return Err(RegisterError::Reserved);
        }
        Ok(user_id)
    }

    /// Registers the own users of application services that have none yet.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub async fn register_senders(&self) -> Result<(), RegisterError> {
        let Some(services) = self.app_services.current() else { return Ok(()) };
        for service in services.all() {
            let Ok(user_id) = UserId::try_from(service.sender.as_str()) else { continue };
            let account = NewAccount { app_service: Some(Arc::clone(service)), ..NewAccount::default() };
            match self.require_free(user_id).await {
                Ok(user_id) => _ = self.store(user_id, None, &account, false).await?,
                Err(RegisterError::UserInUse) => self.warn_of_other_owner(service).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Warns if the name of a service's own user is taken by somebody else, who keeps the password and sessions.
    async fn warn_of_other_owner(&self, service: &AppService) -> Result<(), DbError> {
        let sender = service.sender.clone();
        let account = self.db.read::<_, DbError, _>(move |tx| users::get(tx, &sender)).await?;
        let (id, sender) = (&service.id, &service.sender);
        match account {
            Some(account) if account.appservice_id.as_ref() == Some(id) => {}
            Some(_) => {
                tracing::warn!("{sender}, the user of the application service {id}, was not registered by it");
            }
            None => {
                let text = "its user is missing: another one differs only in case";
                tracing::warn!("the application service {id} cannot act as {sender}: {text}");
            }
        }
        Ok(())
    }

    /// Whether a registration token would be accepted now. Every query from `address` counts.
    ///
    /// # Errors
    /// See [`TokenQuestionError`].
    pub async fn is_valid_registration_token(
        &self,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<bool, TokenQuestionError> {
        self.guesses.registration_token_question(address)?;
        if token.contains('\0') {
            return Ok(false);
        }
        let (token, now) = (token.to_owned(), self.clock.now_ms());
        let stored = self.db.read::<_, DbError, _>(move |tx| registration_tokens::get(tx, &token)).await?;
        Ok(stored.is_some_and(|token| token.is_valid(now)))
    }

    /// Checks a new password against the policy.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn check_password(&self, password: &str) -> Result<(), WeakPassword> {
        self.settings.password.policy.check(password)
    }

    /// Stores the account and its first session in one transaction.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub async fn register(&self, account: NewAccount) -> Result<Registered, RegisterError> {
        if let (Some(password), false) = (&account.password, account.any_password) {
            self.check_password(password)?;
        }
        let name = account.display_name.as_deref().unwrap_or_default();
        if let Some(longest) = profiles::longest("displayname").filter(|longest| name.chars().count() > *longest) {
            return Err(RegisterError::DisplayName(longest));
        }
        let password_hash = match &account.password {
            Some(password) => Some(self.hasher.hash(password).await?),
            None => None,
        };
        if let Some(guest) = &account.guest {
            return self.store(guest.clone(), password_hash, &account, false).await;
        }
        if let Some(service) = &account.app_service {
            let user_id = self.user_of_service(service, account.username.as_deref().unwrap_or_default())?;
            let user_id = self.require_free(user_id).await?;
            return self.store(user_id, password_hash, &account, false).await;
        }
        if let Some(username) = &account.username {
            let user_id = self.check_username(username).await?;
            return self.store(user_id, password_hash, &account, false).await;
        }
        self.retrying(|| self.random_localpart(), |user_id| self.store(user_id, password_hash.clone(), &account, false))
            .await
    }

    /// Stores a guest account, which has a numeric name and no password. Of `account` counts what a guest can have:
    /// the session.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub async fn register_guest(&self, account: NewAccount) -> Result<Registered, RegisterError> {
        let name = || (1_000_000_000 + self.random.below(9_000_000_000)).to_string();
        self.retrying(name, |user_id| self.store(user_id, None, &account, true)).await
    }

    fn random_localpart(&self) -> String {
        (0..12).map(|_| char::from(b'a' + self.random.below(26) as u8)).collect()
    }

    async fn retrying<F>(
        &self,
        name: impl Fn() -> String,
        store: impl Fn(UserId) -> F,
    ) -> Result<Registered, RegisterError>
    where
        F: Future<Output = Result<Registered, RegisterError>>,
    {
        let mut attempt = 1;
        loop {
            let user_id = UserId::new(&name(), &self.settings.server_name).map_err(|_| UsernameError::TooLong)?;
            match store(user_id).await {
                Err(RegisterError::UserInUse) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn store(
        &self,
        user_id: UserId,
        password_hash: Option<String>,
        account: &NewAccount,
        is_guest: bool,
    ) -> Result<Registered, RegisterError> {
        let plan = match &account.session {
            Some(session) => Some(self.sessions.plan(&user_id, session.clone())?),
            None => None,
        };
        let user = users::User {
            user_id: user_id.as_str().to_owned(),
            password_hash,
            created_ts: self.clock.now_ms(),
            is_guest,
            is_admin: account.is_admin,
            user_type: account.user_type.clone(),
            appservice_id: account.app_service.as_ref().map(|service| service.id.clone()),
            deactivated: false,
            erased: false,
            locked: false,
            suspended: false,
            shadow_banned: account.shadow_banned,
        };
        // Synapse shows a new user by the localpart until another name is chosen; guests have none.
        let is_new_person = !is_guest && account.guest.is_none();
        let display_name = account.display_name.clone();
        let display_name = display_name.or_else(|| is_new_person.then(|| user_id.localpart().to_owned()));
        let sessions = self.sessions.clone();
        let (stored, ui_auth_session, guest) = (plan.clone(), account.ui_auth_session.clone(), account.guest.clone());
        self.db
            .write(move |tx| {
                match &guest {
                    Some(guest) => upgrade(tx, guest, user.password_hash.as_deref(), &sessions)?,
                    None => insert(tx, &user)?,
                }
                if user.shadow_banned {
                    users::set_shadow_banned(tx, &user.user_id, true)?;
                }
                complete(tx, &user.user_id, &sessions, stored.as_ref(), ui_auth_session.as_ref())?;
                if let Some(name) = display_name {
                    profiles::set(tx, &user.user_id, "displayname", &Value::from(name).to_json())?;
                }
                Ok::<_, RegisterError>(())
            })
            .await?;
        Ok(Registered { user_id, session: plan.map(|plan| plan.session) })
    }
}

fn insert(tx: &mut Tx, user: &users::User) -> Result<(), RegisterError> {
    if !users::get_ignoring_case(tx, &user.user_id)?.is_empty() || !users::insert(tx, user)? {
        return Err(RegisterError::UserInUse);
    }
    Ok(())
}

fn upgrade(tx: &mut Tx, guest: &UserId, password_hash: Option<&str>, sessions: &Sessions) -> Result<(), RegisterError> {
    if !users::upgrade_guest(tx, guest.as_str(), password_hash)? {
        return Err(RegisterError::UserInUse);
    }
    // Their tokens are those of a guest.
    sessions.end_all_in(tx, guest, None)?;
    Ok(())
}

/// Starts the first session of a new account, and uses up the token or session that allowed it.
fn complete(
    tx: &mut Tx,
    user_id: &str,
    sessions: &Sessions,
    plan: Option<&Plan>,
    ui_auth_session: Option<&ui_auth::Session>,
) -> Result<(), RegisterError> {
    if let Some(plan) = plan {
        sessions.store(tx, plan)?;
    }
    let Some(session) = ui_auth_session else { return Ok(()) };
    if !ui_auth::set_registered(tx, session, user_id)? {
        return Err(RegisterError::SessionSpent);
    }
    let reserved = ui_auth::get(tx, &session.session_id)?.and_then(|session| session.registration_token);
    if let Some(token) = reserved {
        registration_tokens::complete(tx, &token)?;
        ui_auth::set_registration_token(tx, &session.session_id, None)?;
    }
    Ok(())
}
