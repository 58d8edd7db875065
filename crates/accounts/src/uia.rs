//! User-interactive authentication (client-server API, "User-Interactive Authentication API"): the same request is
//! repeated with one stage after another until one flow is complete.

mod stage;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::ui_auth;
use plexus_store::{Database, DbError};

use crate::Requester;
use crate::login::{LoginError, Logins};
use crate::settings::Settings;

pub use stage::{DUMMY, PASSWORD, REGISTRATION_TOKEN, StageFailure};

/// How long a session can be completed.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Largest parameters that are kept, in bytes of JSON: of somebody unknown, and of a user.
const MAX_UNKNOWN_PARAMS: usize = 8 * 1024;
const MAX_PARAMS: usize = 256 * 1024;
/// Sessions kept, newest first, of people unknown: nobody needs an account to begin one.
const KEPT_UNKNOWN: u64 = 10_000;
/// The older ones are deleted whenever so many were begun.
const BEGUN_PER_CLEANUP: u64 = 256;
/// Tokens remembered as recently authenticated, for `ui_auth.session_timeout`.
const MAX_RECENT: usize = 10_000;

/// A flow: stages that must all be completed, in any order.
pub type Flow = Vec<&'static str>;

/// A request that needs authentication.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// Method and path without prefix, such as `DELETE /devices/ABC`: a session is good for one operation only.
    pub operation: String,
    /// Who asks; `None` for registration.
    pub requester: Option<&'a Requester>,
    /// The flows of which one must be completed.
    pub flows: Vec<Flow>,
    /// The body's `auth`.
    pub auth: Option<Object>,
    /// The body without `auth`.
    pub params: Object,
    /// Whether `ui_auth.session_timeout` applies.
    pub can_skip: bool,
}

/// A request may go on.
#[derive(Debug, Clone)]
pub struct Passed {
    /// `None`: it took one request, or authentication was recent enough to be skipped.
    pub session_id: Option<String>,
    /// The body to act on: what this request sent or, if that was nothing, what the session was begun with
    /// (without passwords, which are not kept).
    pub params: Object,
    /// The user that was registered with this session already.
    pub registered: Option<String>,
}

/// What the 401 answer tells the client.
#[derive(Debug, Clone)]
pub struct Challenge {
    pub session_id: String,
    pub flows: Vec<Flow>,
    pub completed: Vec<String>,
    /// Why the stage that was tried is not completed.
    pub failure: Option<StageFailure>,
}

/// Why a request may not go on.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// 401 with the flows.
    #[error("more authentication is needed")]
    Incomplete(Box<Challenge>),
    /// 400 `M_UNKNOWN`: it never was, or it is too old.
    #[error("Unknown session ID")]
    UnknownSession,
    /// 403 `M_FORBIDDEN`
    #[error("Requested operation has changed during the UI authentication session.")]
    OperationChanged,
    /// 400 `M_MISSING_PARAM`
    #[error("auth: {0} is missing or not a string")]
    MissingField(&'static str),
    /// 400 `M_UNRECOGNIZED`
    #[error("this authentication type is not offered here")]
    UnknownStage,
    /// 413 `M_TOO_LARGE`
    #[error("the request is too large to be authenticated")]
    TooLarge,
    /// 403 `M_FORBIDDEN`: the account has nothing to authenticate with.
    #[error("no authentication flow is available for this account")]
    NoFlow,
    #[error(transparent)]
    Hash(#[from] crate::password::HashError),
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Runs user-interactive authentication.
#[derive(Clone)]
pub struct UserInteractiveAuth {
    db: Database,
    clock: Clock,
    random: Random,
    logins: Logins,
    skip_within: Duration,
    /// Sessions begun since the start.
    begun: Arc<AtomicU64>,
    /// Token -> when its owner completed a flow, on the monotonic clock.
    recent: Arc<Mutex<HashMap<i64, Duration>>>,
}

impl UserInteractiveAuth {
    /// Passwords are checked by `logins`.
    #[must_use]
    pub fn new(db: Database, clock: Clock, random: Random, logins: Logins, settings: &Settings) -> Self {
        let skip_within = settings.ui_auth_session_timeout;
        Self { db, clock, random, logins, skip_within, begun: Arc::default(), recent: Arc::default() }
    }

    /// The flows by which an existing account can authenticate itself.
    ///
    /// # Errors
    /// `NoFlow`, or the database's.
    pub async fn flows_of_user(&self, user_id: &UserId) -> Result<Vec<Flow>, UiaError> {
        match self.logins.has_password(user_id).await? {
            true => Ok(vec![vec![PASSWORD]]),
            false => Err(UiaError::NoFlow),
        }
    }

    /// Lets the request pass, or says what is missing.
    ///
    /// # Errors
    /// See [`UiaError`].
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Result<Passed, UiaError> {
        if attempt.can_skip && self.authenticated_recently(attempt.requester) {
            return Ok(Passed { session_id: None, params: attempt.params, registered: None });
        }
        let Some(auth) = &attempt.auth else {
            let session = self.begin(&attempt).await?;
            return Err(incomplete(&session, &attempt, None));
        };
        let stage = stage::offered(&attempt.flows, auth)?;
        let (session, failure) = match (auth.get_str("session"), stage) {
            (Some(id), Some(stage)) => {
                let session = self.resume(id, &attempt).await?;
                let failure = self.try_stage(&session, stage, &attempt, auth).await?;
                (session, failure)
            }
            (Some(id), None) => (self.resume(id, &attempt).await?, None),
            // All in one request: nothing needs to be kept.
            (None, Some(stage @ (DUMMY | PASSWORD))) if attempt.flows.iter().any(|flow| flow == &[stage]) => {
                match self.failure_without_session(stage, &attempt, auth).await? {
                    None => {
                        self.remember(attempt.requester);
                        return Ok(Passed { session_id: None, params: attempt.params, registered: None });
                    }
                    failure => (self.begin(&attempt).await?, failure),
                }
            }
            (None, Some(stage)) => {
                let session = self.begin(&attempt).await?;
                let failure = self.try_stage(&session, stage, &attempt, auth).await?;
                (session, failure)
            }
            (None, None) => (self.begin(&attempt).await?, None),
        };
        // Read again: this stage, or one completed on the fallback page meanwhile.
        let session = self.load(&session.session_id).await?;
        let complete = |flow: &Flow| flow.iter().all(|stage| session.completed.iter().any(|done| done == stage));
        if !attempt.flows.iter().any(complete) {
            return Err(incomplete(&session, &attempt, failure));
        }
        self.remember(attempt.requester);
        let params = match attempt.params.is_empty() {
            true => stored_params(&session)?,
            false => attempt.params,
        };
        Ok(Passed { session_id: Some(session.session_id), params, registered: session.registered_user_id })
    }

    /// Completes a stage on behalf of the fallback page. `token` is given for the registration token stage.
    ///
    /// # Errors
    /// `UnknownSession`, `UnknownStage`, `MissingField`, or the database's; a refused token is `Ok(Some(..))`.
    pub async fn complete_by_page(
        &self,
        session_id: &str,
        stage: &str,
        token: Option<&str>,
    ) -> Result<Option<StageFailure>, UiaError> {
        let session = self.load(session_id).await?;
        match (stage, token) {
            (DUMMY, _) => self.complete(&session, DUMMY).await.map(|()| None),
            (REGISTRATION_TOKEN, Some(token)) => self.use_registration_token(&session, token).await,
            (REGISTRATION_TOKEN, None) => Err(UiaError::MissingField("token")),
            _ => Err(UiaError::UnknownStage),
        }
    }

    /// Checks that a session can still be completed, and answers the user that was registered with it already.
    ///
    /// # Errors
    /// `UnknownSession`, or the database's.
    pub async fn registered_user(&self, session_id: &str) -> Result<Option<String>, UiaError> {
        self.load(session_id).await.map(|session| session.registered_user_id)
    }

    async fn begin(&self, attempt: &Attempt<'_>) -> Result<ui_auth::Session, UiaError> {
        let session = ui_auth::Session {
            session_id: self.random.alphanumeric(24),
            created_ts: self.clock.now_ms(),
            operation: attempt.operation.clone(),
            user_id: attempt.requester.map(|requester| requester.user_id.as_str().to_owned()),
            params: self.bound_params(attempt)?,
            registration_token: None,
            registered_user_id: None,
            completed: Vec::new(),
        };
        let stored = session.clone();
        let cleanup = self.begun.fetch_add(1, Ordering::Relaxed) % BEGUN_PER_CLEANUP == BEGUN_PER_CLEANUP - 1;
        self.db
            .write::<_, DbError, _>(move |tx| {
                ui_auth::insert(tx, &stored)?;
                if cleanup { ui_auth::keep_newest_of_unknown(tx, KEPT_UNKNOWN) } else { Ok(()) }
            })
            .await?;
        Ok(session)
    }

    /// What a session is bound to. Passwords stay out of the database.
    fn bound_params(&self, attempt: &Attempt<'_>) -> Result<String, UiaError> {
        let mut params = attempt.params.clone();
        params.retain(|key, _| key != "password" && key != "new_password");
        let params = params.to_json();
        let limit = if attempt.requester.is_some() { MAX_PARAMS } else { MAX_UNKNOWN_PARAMS };
        if params.len() <= limit { Ok(params) } else { Err(UiaError::TooLarge) }
    }

    async fn load(&self, session_id: &str) -> Result<ui_auth::Session, UiaError> {
        if session_id.contains('\0') {
            return Err(UiaError::UnknownSession);
        }
        let id = session_id.to_owned();
        let session: Option<ui_auth::Session> = self.db.read::<_, DbError, _>(move |tx| ui_auth::get(tx, &id)).await?;
        let oldest = self.oldest();
        session.filter(|session| session.created_ts > oldest).ok_or(UiaError::UnknownSession)
    }

    /// The session, if it is for this operation of this user with these parameters. Parameters may change until the
    /// first stage is completed: some clients ask for the flows with an empty body.
    async fn resume(&self, session_id: &str, attempt: &Attempt<'_>) -> Result<ui_auth::Session, UiaError> {
        let mut session = self.load(session_id).await?;
        let user_id = attempt.requester.map(|requester| requester.user_id.as_str());
        if session.operation != attempt.operation || session.user_id.as_deref() != user_id {
            return Err(UiaError::OperationChanged);
        }
        let params = self.bound_params(attempt)?;
        if attempt.params.is_empty() || params == session.params {
            return Ok(session);
        }
        if !session.completed.is_empty() {
            return Err(UiaError::OperationChanged);
        }
        session.params.clone_from(&params);
        let id = session.session_id.clone();
        self.db.write::<_, DbError, _>(move |tx| ui_auth::set_params(tx, &id, &params)).await?;
        Ok(session)
    }

    fn oldest(&self) -> u64 {
        self.clock.now_ms().saturating_sub(LIFETIME.as_millis() as u64)
    }

    /// Deletes sessions that can no longer be completed, and gives back the registration tokens they reserved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_expired(&self) -> Result<(), DbError> {
        let oldest = self.oldest();
        self.db.write(move |tx| ui_auth::delete_before(tx, oldest)).await
    }

    /// Calls [`Self::delete_expired`] every half hour, for ever.
    pub async fn run_housekeeping(self) {
        loop {
            self.clock.sleep(LIFETIME / 2).await;
            if let Err(error) = self.delete_expired().await {
                tracing::warn!(%error, "could not delete expired authentication sessions");
            }
        }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Duration>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authenticated_recently(&self, requester: Option<&Requester>) -> bool {
        let Some(requester) = requester.filter(|_| !self.skip_within.is_zero()) else { return false };
        let recent = self.recent();
        let last = recent.get(&requester.token_id);
        last.is_some_and(|last| self.clock.monotonic().saturating_sub(*last) < self.skip_within)
    }

    fn remember(&self, requester: Option<&Requester>) {
        let Some(requester) = requester.filter(|_| !self.skip_within.is_zero()) else { return };
        let now = self.clock.monotonic();
        let mut recent = self.recent();
        if recent.len() >= MAX_RECENT {
            recent.retain(|_, last| now.saturating_sub(*last) < self.skip_within);
        }
        if recent.len() < MAX_RECENT {
            recent.insert(requester.token_id, now);
        }
    }
}

fn incomplete(session: &ui_auth::Session, attempt: &Attempt<'_>, failure: Option<StageFailure>) -> UiaError {
    UiaError::Incomplete(Box::new(Challenge {
        session_id: session.session_id.clone(),
        flows: attempt.flows.clone(),
        completed: session.completed.clone(),
        failure,
    }))
}

fn stored_params(session: &ui_auth::Session) -> Result<Object, DbError> {
    Object::parse(&session.params).map_err(|error| DbError::bad_data("ui_auth_sessions.params", error))
}

impl From<LoginError> for UiaError {
    /// What is not a wrong password is the server's fault.
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Hash(error) => Self::Hash(error),
            LoginError::Database(error) => Self::Database(error),
            LoginError::WrongPassword | LoginError::WrongToken | LoginError::Deactivated | LoginError::Locked => {
                Self::NoFlow
            }
        }
    }
}
