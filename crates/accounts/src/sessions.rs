//! Sessions: a device with its tokens, from login over refreshing to logout.

use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_protocol::id::UserId;
use plexus_store::repo::tokens::{self, NewAccessToken, NewRefreshToken};
use plexus_store::repo::{dehydrated_devices, device_lists, devices, other_changes, users};
use plexus_store::{Database, DbError, Tx};

use crate::Requester;
use crate::secret::{self, Purpose};
use crate::settings::{SessionSettings, Settings};

/// The longest device id, in bytes.
pub(crate) const MAX_DEVICE_ID: usize = 512;
/// The longest display name of a device, in characters; the rest is cut off.
pub(crate) const MAX_DEVICE_DISPLAY_NAME: usize = 100;

/// The most devices of a user; a further one replaces the one not used for the longest time. Whoever writes to the user
/// encrypts for each of them, and servers store a thousand devices of a user of another server.
const MAX_DEVICES: u64 = 1_000;

/// The session that a client asks for when it logs in or registers.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// The device to log in on: an existing one is used again and its earlier tokens end. `None` creates one.
    pub device_id: Option<String>,
    /// The name of the device if it is new; cut off after 100 characters.
    pub initial_device_display_name: Option<String>,
    /// Whether the client can refresh its token.
    pub refresh_token: bool,
}

/// A session that was started.
#[derive(Debug, Clone)]
pub struct Session {
    /// The user who is logged in.
    pub user_id: UserId,
    /// The device, new or existing.
    pub device_id: String,
    /// The session's first tokens.
    pub tokens: Tokens,
}

/// A new access token, with what the client needs to renew it.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The token for the Authorization header.
    pub access_token: String,
    /// `None`: it does not expire.
    pub expires_in: Option<Duration>,
    /// Set if the client asked for one and the configuration allows it.
    pub refresh_token: Option<String>,
}

/// Why a session could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// `M_INVALID_PARAM`
    #[error("device_id must not be longer than 512 bytes or contain NUL")]
    InvalidDeviceId,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why a refresh token is not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Never issued, used up, or revoked: `M_UNKNOWN_TOKEN`.
    #[error("refresh token is not recognised")]
    Unknown,
    /// `M_UNKNOWN_TOKEN` with `soft_logout`.
    #[error("refresh token or session has expired")]
    Expired,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Starts, refreshes and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    db: Database,
    clock: Clock,
    random: Random,
    settings: Arc<Settings>,
}

impl Sessions {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, clock: Clock, random: Random, settings: Arc<Settings>) -> Self {
        Self { db, clock, random, settings }
    }

    /// Logs a user in.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn start(&self, user_id: &UserId, new: NewSession) -> Result<Session, SessionError> {
        let plan = self.plan(user_id, new)?;
        let (this, stored) = (self.clone(), plan.clone());
        self.db.write(move |tx| this.store(tx, &stored)).await?;
        Ok(plan.session)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Generates the tokens of a session; nothing is stored yet.
    pub(crate) fn plan(&self, user_id: &UserId, new: NewSession) -> Result<Plan, SessionError> {
        let device_id = match new.device_id {
            Some(id) if id.is_empty() => self.device_id(),
            Some(id) if id.len() > MAX_DEVICE_ID || id.contains('\0') => return Err(SessionError::InvalidDeviceId),
            Some(id) => id,
            None => self.device_id(),
        };
        let now = self.clock.now_ms();
        let config = &self.settings.sessions;
        let session_until_ts = config.session_lifetime.map(|lifetime| after(now, lifetime));
        let refreshable = config.refreshable_access_token_lifetime.filter(|_| new.refresh_token);
        let lifetime = refreshable.or(config.nonrefreshable_access_token_lifetime);
        let tokens = self.tokens(now, lifetime, refreshable.is_some(), session_until_ts);
        let display_name = new.initial_device_display_name.map(|name| shortened(&name));
        let session = Session { user_id: user_id.clone(), device_id, tokens };
        Ok(Plan { session, display_name, now, session_until_ts })
    }

    /// Stores a planned session: earlier tokens of the device end. A dehydrated device becomes an ordinary one.
    pub(crate) fn store(&self, tx: &mut Tx, plan: &Plan) -> Result<(), DbError> {
        let (user_id, device_id) = (plan.session.user_id.as_str(), plan.session.device_id.as_str());
        if !self.create_device(tx, &plan.session.user_id, device_id, plan.display_name.clone())? {
            let ended = tokens::delete_of_device(tx, user_id, device_id)?;
            other_changes::record_tokens(tx, ended)?;
            dehydrated_devices::delete(tx, user_id, device_id)?;
        }
        self.store_tokens(tx, plan)?;
        Ok(())
    }

    /// Creates a device. A user with too many loses the one that was used least recently. Returns `false`, and changes
    /// nothing, if there is one with this id.
    pub(crate) fn create_device(
        &self,
        tx: &mut Tx,
        user_id: &UserId,
        device_id: &str,
        display_name: Option<String>,
    ) -> Result<bool, DbError> {
        if !devices::create(tx, user_id.as_str(), device_id, display_name.as_deref(), self.clock.now_ms())? {
            return Ok(false);
        }
        if let Some(unused) = devices::least_recently_used_beyond(tx, user_id.as_str(), MAX_DEVICES)? {
            self.delete_device(tx, user_id, &unused)?;
            tracing::info!("device {unused} of {user_id} is deleted: the user has {MAX_DEVICES} others");
        }
        Ok(true)
    }

    /// Stores the tokens. Returns the id of the refresh token.
    fn store_tokens(&self, tx: &mut Tx, plan: &Plan) -> Result<Option<i64>, DbError> {
        let Session { user_id, device_id, tokens } = &plan.session;
        let refresh_token_id = match &tokens.refresh_token {
            Some(token) => Some(tokens::insert_refresh(
                tx,
                &NewRefreshToken {
                    hash: secret::hash(token),
                    user_id: user_id.as_str(),
                    device_id,
                    valid_until_ts: refresh_until(&self.settings.sessions, plan),
                    session_until_ts: plan.session_until_ts,
                },
            )?),
            None => None,
        };
        tokens::insert(
            tx,
            &NewAccessToken {
                hash: secret::hash(&tokens.access_token),
                user_id: user_id.as_str(),
                device_id: Some(device_id),
                created_ts: plan.now,
                valid_until_ts: tokens.expires_in.map(|lifetime| after(plan.now, lifetime)),
                refresh_token_id,
                puppeted_by: None,
            },
        )?;
        Ok(refresh_token_id)
    }

    fn tokens(&self, now: u64, lifetime: Option<Duration>, refresh: bool, session_until: Option<u64>) -> Tokens {
        let rest = session_until.map(|until| Duration::from_millis(until.saturating_sub(now)));
        let expires_in = match (lifetime, rest) {
            (Some(lifetime), Some(rest)) => Some(lifetime.min(rest)),
            (lifetime, rest) => lifetime.or(rest),
        };
        Tokens {
            access_token: secret::generate(&self.random, Purpose::Access),
            expires_in,
            refresh_token: refresh.then(|| secret::generate(&self.random, Purpose::Refresh)),
        }
    }

    /// Generates a device id: ten capital letters, as clients and people know device ids.
    fn device_id(&self) -> String {
        (0..10).map(|_| char::from(b'A' + self.random.below(26) as u8)).collect()
    }

    /// Exchanges a refresh token. The old one stays valid until the new access token is used or the new refresh token
    /// is exchanged (client-server API, "Refreshing access tokens"): a client that missed the response can ask again.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, RefreshError> {
        let hash = secret::hash(refresh_token);
        // Strangers who make up tokens do not keep the writer busy.
        if self.db.read::<_, DbError, _>(move |tx| tokens::refresh_by_hash(tx, &hash)).await?.is_none() {
            return Err(RefreshError::Unknown);
        }
        let this = self.clone();
        self.db.write(move |tx| this.exchange(tx, &hash)).await
    }

    fn exchange(&self, tx: &mut Tx, hash: &tokens::TokenHash) -> Result<Tokens, RefreshError> {
        let old = tokens::refresh_by_hash(tx, hash)?.ok_or(RefreshError::Unknown)?;
        let now = self.clock.now_ms();
        let passed = |until: Option<u64>| until.is_some_and(|until| until <= now);
        if passed(old.valid_until_ts) || passed(old.session_until_ts) {
            return Err(RefreshError::Expired);
        }
        let lifetime = self.settings.sessions.refreshable_access_token_lifetime;
        let plan = Plan {
            session: Session {
                user_id: old.user_id.clone(),
                device_id: old.device_id.clone(),
                tokens: self.tokens(now, lifetime, true, old.session_until_ts),
            },
            display_name: None,
            now,
            session_until_ts: old.session_until_ts,
        };
        let next = self.store_tokens(tx, &plan)?.ok_or(RefreshError::Unknown)?;
        let mut ended = tokens::exchange_refresh(tx, &old, next)?;
        ended.extend(tokens::end_predecessors(tx, old.token_id)?);
        other_changes::record_tokens(tx, ended)?;
        Ok(plan.session.tokens)
    }

    /// Logs out: deletes the device with its tokens and keys. A token without a device only ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(&self, requester: &Requester) -> Result<(), DbError> {
        let (this, requester) = (self.clone(), requester.clone());
        self.db
            .write(move |tx| match &requester.device_id {
                Some(device_id) => this.delete_device(tx, &requester.user_id, device_id).map(drop),
                None => {
                    let ended = tokens::delete(tx, requester.token_id)?;
                    other_changes::record_tokens(tx, ended)
                }
            })
            .await
    }

    /// Logs a user out everywhere, except from the device `keep`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_all(&self, user_id: &UserId, keep: Option<String>) -> Result<(), DbError> {
        let (this, user_id) = (self.clone(), user_id.clone());
        self.db.write(move |tx| this.end_all_in(tx, &user_id, keep.as_deref())).await
    }

    pub(crate) fn end_all_in(&self, tx: &mut Tx, user_id: &UserId, keep: Option<&str>) -> Result<(), DbError> {
        for device in devices::list(tx, user_id.as_str())? {
            if Some(device.device_id.as_str()) != keep {
                self.delete_device(tx, user_id, &device.device_id)?;
            }
        }
        let ended = match keep {
            // Tokens that belong to no device: an administrator acting as the user.
            Some(_) => tokens::delete_without_device(tx, user_id.as_str())?,
            None => tokens::delete_of_user(tx, user_id.as_str())?,
        };
        other_changes::record_tokens(tx, ended)
    }

    /// Deletes a device with its tokens and keys, and notifies everybody who could see its keys. Returns false if there
    /// is none.
    pub(crate) fn delete_device(&self, tx: &mut Tx, user_id: &UserId, device_id: &str) -> Result<bool, DbError> {
        let ended = tokens::delete_of_device(tx, user_id.as_str(), device_id)?;
        other_changes::record_tokens(tx, ended)?;
        device_lists::record_if_visible(tx, user_id, device_id)?;
        devices::delete(tx, user_id, device_id)
    }

    /// Issues a single-use token with which another device can log in as the user. Returns it with its lifetime.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issue_login_token(&self, user_id: &UserId) -> Result<(String, Duration), DbError> {
        let token = secret::generate(&self.random, Purpose::Login);
        let timeout = self.settings.login_via_existing_session.token_timeout;
        let (hash, until) = (secret::hash(&token), after(self.clock.now_ms(), timeout));
        let user_id = user_id.clone();
        let stored: Result<(), DbError> =
            self.db.write(move |tx| tokens::insert_login_token(tx, &hash, user_id.as_str(), until)).await;
        stored?;
        Ok((token, timeout))
    }

    /// Issues a token by which a third party can ask who the user is. Returns it with its lifetime.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issue_openid_token(&self, user_id: &UserId) -> Result<(String, Duration), DbError> {
        let token = secret::generate(&self.random, Purpose::OpenId);
        let lifetime = Duration::from_secs(3600);
        let (hash, until) = (secret::hash(&token), after(self.clock.now_ms(), lifetime));
        let user_id = user_id.clone();
        let stored: Result<(), DbError> =
            self.db.write(move |tx| tokens::insert_openid_token(tx, &hash, user_id.as_str(), until)).await;
        stored?;
        Ok((token, lifetime))
    }

    /// Returns the user of an OpenID token, while it is valid.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn openid_user(&self, token: &str) -> Result<Option<UserId>, DbError> {
        let (hash, now) = (secret::hash(token), self.clock.now_ms());
        self.db.read(move |tx| tokens::openid_user(tx, &hash, now)).await
    }

    /// Changes an account by `change` and drops its tokens from memory, so that the next request sees the change:
    /// admin, locked, suspended. Returns the result of `change`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_user(
        &self,
        user_id: &UserId,
        change: impl FnOnce(&mut Tx, &str) -> Result<bool, DbError> + Send + 'static,
    ) -> Result<bool, DbError> {
        let user_id = user_id.clone();
        self.db
            .write(move |tx| {
                let changed = change(tx, user_id.as_str())?;
                let hashes = tokens::hashes_of_user(tx, user_id.as_str())?;
                other_changes::record_tokens(tx, hashes)?;
                Ok(changed)
            })
            .await
    }

    /// Makes the user a server administrator, or takes that back. Returns false if there is no such user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_admin(&self, user_id: &UserId, admin: bool) -> Result<bool, DbError> {
        self.change_user(user_id, move |tx, user_id| users::set_admin(tx, user_id, admin)).await
    }
}

/// A session about to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) session: Session,
    display_name: Option<String>,
    now: u64,
    session_until_ts: Option<u64>,
}

fn refresh_until(config: &SessionSettings, plan: &Plan) -> Option<u64> {
    config.refresh_token_lifetime.map(|lifetime| after(plan.now, lifetime))
}

fn after(now: u64, duration: Duration) -> u64 {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // Columns hold 63 bits.
    now.saturating_add(ms).min(i64::MAX as u64)
}

pub(crate) fn shortened(name: &str) -> String {
    name.chars().filter(|c| *c != '\0').take(MAX_DEVICE_DISPLAY_NAME).collect()
}
