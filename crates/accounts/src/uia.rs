//! User-interactive authentication (client-server API, "User-Interactive Authentication API"): the same request is
//! repeated with one stage after another until one flow is complete.

mod params;
mod stage;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::{Clock, LimitExceeded, Random};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::ui_auth;
use plexus_store::{Database, DbError};

use crate::Requester;
use crate::guesses::GuessLimits;
use crate::login::{LoginError, Logins};
use crate::settings::Settings;
use crate::ticket::{Purpose, Tickets};

pub use plexus_store::repo::ui_auth::Session;
pub use stage::{DUMMY, PASSWORD, REGISTRATION_TOKEN, StageFailure};

/// How long a session can be completed.
const LIFETIME: Duration = Duration::from_secs(3600);
/// The most sessions of one user; the newest are kept. A client that authenticates a request has one or two in
/// progress.
const MAX_SESSIONS_OF_USER: u64 = 50;
/// The most access tokens remembered as recently authenticated, for `ui_auth.session_timeout`.
const MAX_RECENT: usize = 10_000;

/// The operation of registering an account.
pub const REGISTRATION: &str = "POST /register";

/// A flow: stages that must all be completed, in any order.
pub type Flow = Vec<&'static str>;

/// A request that needs authentication.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// Method and path without prefix, such as `DELETE /devices/ABC`: a session is valid for one operation only.
    pub operation: String,
    /// The user who makes the request; `None` for registration.
    pub requester: Option<&'a Requester>,
    /// The client's address, by which wrong registration tokens are counted.
    pub address: Option<IpAddr>,
    /// The flows of which one must be completed.
    pub flows: Vec<Flow>,
    /// The body's `auth`.
    pub auth: Option<Object>,
    /// The body without `auth`.
    pub params: Object,
    /// Whether `ui_auth.session_timeout` applies.
    pub can_skip: bool,
}

/// An attempt with the parameters that the earlier requests of its session gave.
#[derive(Debug, Clone)]
pub struct Opened<'a> {
    /// The attempt, with all parameters.
    pub attempt: Attempt<'a>,
    /// `None` where it has not been loaded.
    session: Option<Session>,
}

impl<'a> From<Attempt<'a>> for Opened<'a> {
    fn from(attempt: Attempt<'a>) -> Self {
        Self { attempt, session: None }
    }
}

/// A request that is authorised.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The session that authorised the request, if there was one. That of a user is used up already: give it back with
    /// [`UserInteractiveAuth::restore`] if the request fails. That of a registration is passed on in
    /// [`crate::NewAccount`].
    pub session: Option<Session>,
    /// The body to act on: the parameters of all requests of the session, the last value of each.
    pub params: Object,
    /// The user that was registered with this session before.
    pub registered: Option<String>,
}

/// The content of the 401 response.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The session that the next request has to name.
    pub session_id: String,
    /// The flows of which one has to be completed.
    pub flows: Vec<Flow>,
    /// The stages that are completed.
    pub completed: Vec<String>,
    /// Why the stage that the client tried was not completed.
    pub failure: Option<StageFailure>,
}

/// Why a request is not authorised.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// 401 with the flows.
    #[error("more authentication is needed")]
    Incomplete(Box<Challenge>),
    /// 400 `M_UNKNOWN`: there was no such session, it has expired, or it has authorised a request already.
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
    /// 403 `M_FORBIDDEN`: the account has no means of authentication.
    #[error("no authentication flow is available for this account")]
    NoFlow,
    /// 429 `M_LIMIT_EXCEEDED`
    #[error(transparent)]
    Limited(#[from] LimitExceeded),
    /// A password could not be checked.
    #[error(transparent)]
    Hash(#[from] crate::password::HashError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Runs user-interactive authentication.
///
/// A session of a user is a row, which the request that it authorises removes from the database. The session of a
/// registration is a ticket that carries the parameters given so far: nothing is stored until a stage is completed.
#[derive(Clone)]
pub struct UserInteractiveAuth {
    db: Database,
    clock: Clock,
    random: Random,
    logins: Logins,
    guesses: Arc<GuessLimits>,
    /// Issues the sessions of registrations, and seals the passwords of other sessions.
    tickets: Arc<Tickets>,
    skip_within: Duration,
    /// Token -> when its owner completed a flow, on the monotonic clock.
    recent: Arc<Mutex<HashMap<i64, Duration>>>,
}

impl UserInteractiveAuth {
    /// Creates the service. `logins` checks passwords.
    pub(crate) fn new(
        db: Database,
        clock: Clock,
        random: Random,
        logins: Logins,
        settings: &Settings,
        guesses: Arc<GuessLimits>,
    ) -> Self {
        let skip_within = settings.ui_auth_session_timeout;
        let tickets = Arc::new(Tickets::new(clock.clone(), random.clone(), LIFETIME));
        Self { db, clock, random, logins, guesses, tickets, skip_within, recent: Arc::default() }
    }

    /// Returns the flows by which an existing account can authenticate itself.
    ///
    /// # Errors
    /// `NoFlow`, or the database's.
    pub async fn flows_of_user(&self, user_id: &UserId) -> Result<Vec<Flow>, UiaError> {
        if self.logins.has_password(user_id).await? { Ok(vec![vec![PASSWORD]]) } else { Err(UiaError::NoFlow) }
    }

    /// Authorises the request, or returns what is missing. Of several requests with one session of a user only one is
    /// authorised.
    ///
    /// # Errors
    /// See [`UiaError`].
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Result<Passed, UiaError> {
        self.authenticate_opened(attempt.into()).await
    }

    /// As [`Self::authenticate`], without loading the session again.
    ///
    /// # Errors
    /// See [`UiaError`].
    pub async fn authenticate_opened(&self, opened: Opened<'_>) -> Result<Passed, UiaError> {
        let Opened { mut attempt, session } = opened;
        if self.needs_no_session(&attempt) {
            return Ok(Passed { session: None, params: attempt.params, registered: None });
        }
        let Some(auth) = attempt.auth.clone() else {
            let session = self.begin(&attempt).await?;
            return Err(incomplete(&session, &attempt, None));
        };
        let stage = stage::offered(&attempt.flows, &auth)?;
        let session = match auth.get_str("session") {
            Some(id) => Some(self.resume(id, session, &mut attempt).await?),
            None => None,
        };
        // All in one request: nothing needs to be kept.
        let at_once = |stage: &'static str| attempt.flows.iter().any(|flow| flow == &[stage]);
        if let Some(stage @ (DUMMY | PASSWORD)) = stage.filter(|stage| at_once(stage)) {
            return match self.failure_without_session(stage, &attempt, &auth).await? {
                None => self.pass(session, Some(stage), attempt).await,
                failure => Err(incomplete(&self.begun(session, &attempt).await?, &attempt, failure)),
            };
        }
        let session = match session {
            Some(session) => session,
            None => self.begin(&attempt).await?,
        };
        let failure = match stage {
            Some(stage) => self.try_stage(&session, stage, &attempt, &auth).await?,
            None => None,
        };
        // Read again: this stage, or one completed on the fallback page meanwhile.
        let stored = self.load(&session.session_id).await?;
        let session = Session { params: session.params, sealed: session.sealed, ..stored };
        let complete = |flow: &Flow| flow.iter().all(|stage| session.completed.iter().any(|done| done == stage));
        if !attempt.flows.iter().any(complete) {
            return Err(incomplete(&self.begun(Some(session), &attempt).await?, &attempt, failure));
        }
        self.pass(Some(session), None, attempt).await
    }

    /// Authorises the request: its session, if any, is complete, with `stage` if that is not among its stages yet.
    async fn pass(
        &self,
        session: Option<Session>,
        stage: Option<&'static str>,
        attempt: Attempt<'_>,
    ) -> Result<Passed, UiaError> {
        let mut session = match session {
            // Another request of the session may have changed the stored parameters meanwhile.
            Some(Session { session_id, params, sealed, .. }) if attempt.requester.is_some() => {
                Some(Session { params, sealed, ..self.take(session_id).await? })
            }
            session => session,
        };
        if let (Some(session), Some(stage)) = (&mut session, stage) {
            session.completed.push(stage.to_owned());
        }
        self.remember(attempt.requester);
        let registered = session.as_ref().and_then(|session| session.registered_user_id.clone());
        Ok(Passed { session, params: attempt.params, registered })
    }

    async fn take(&self, session_id: String) -> Result<Session, UiaError> {
        let taken = self.db.write::<_, DbError, _>(move |tx| ui_auth::take(tx, &session_id)).await?;
        taken.ok_or(UiaError::UnknownSession)
    }

    /// Gives a user's session back: the request that it authorised has failed, and may be made again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn restore(&self, session: Session) -> Result<(), DbError> {
        self.db.write(move |tx| ui_auth::insert(tx, &session)).await
    }

    /// Completes a stage for the fallback page. `token` is given for the registration token stage. The client's
    /// `address` bounds what strangers can store this way.
    ///
    /// # Errors
    /// `UnknownSession`, `UnknownStage`, `MissingField`, `Limited`, or the database's; a refused token is
    /// `Ok(Some(..))`.
    pub async fn complete_by_page(
        &self,
        session_id: &str,
        stage: &str,
        token: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Option<StageFailure>, UiaError> {
        let session = self.load(session_id).await?;
        match (stage, token) {
            (DUMMY, _) => {
                self.guesses.registration_token_question(address)?;
                self.complete(&session, DUMMY).await.map(|()| None)
            }
            (REGISTRATION_TOKEN, Some(token)) => self.use_registration_token(&session, token, address).await,
            (REGISTRATION_TOKEN, None) => Err(UiaError::MissingField("token")),
            _ => Err(UiaError::UnknownStage),
        }
    }

    /// Checks that a session can still be completed, and returns the user that was registered with it before.
    ///
    /// # Errors
    /// `UnknownSession`, or the database's.
    pub async fn registered_user(&self, session_id: &str) -> Result<Option<String>, UiaError> {
        self.load(session_id).await.map(|session| session.registered_user_id)
    }

    async fn begin(&self, attempt: &Attempt<'_>) -> Result<Session, UiaError> {
        let Some(requester) = attempt.requester else {
            let session_id = self.ticket(&attempt.params)?;
            return self.registration(&session_id).ok_or(UiaError::UnknownSession);
        };
        let session = Session {
            session_id: self.random.alphanumeric(24),
            created_ts: self.clock.now_ms(),
            operation: attempt.operation.clone(),
            user_id: Some(requester.user_id.as_str().to_owned()),
            params: params::stored(&attempt.params)?,
            sealed: self.sealed_secrets(&attempt.params),
            registration_token: None,
            registered_user_id: None,
            completed: Vec::new(),
        };
        let (stored, owner) = (session.clone(), requester.user_id.clone());
        self.db
            .write::<_, DbError, _>(move |tx| {
                ui_auth::insert(tx, &stored)?;
                ui_auth::keep_newest_of_user(tx, owner.as_str(), MAX_SESSIONS_OF_USER)
            })
            .await?;
        Ok(session)
    }

    /// Returns the session of a registration that has completed no stage yet.
    fn registration(&self, session_id: &str) -> Option<Session> {
        let ticket = self.tickets.open(Purpose::Registration, session_id)?;
        Some(Session {
            session_id: session_id.to_owned(),
            created_ts: ticket.created_ts,
            operation: REGISTRATION.to_owned(),
            user_id: None,
            params: params::parameters_digest(&params::of_ticket(&ticket)?),
            sealed: None,
            registration_token: None,
            registered_user_id: None,
            completed: Vec::new(),
        })
    }

    async fn load(&self, session_id: &str) -> Result<Session, UiaError> {
        if session_id.contains('\0') {
            return Err(UiaError::UnknownSession);
        }
        let id = session_id.to_owned();
        let stored: Option<Session> = self.db.read::<_, DbError, _>(move |tx| ui_auth::get(tx, &id)).await?;
        let session = stored.or_else(|| self.registration(session_id));
        let oldest = self.oldest();
        session.filter(|session| session.created_ts > oldest).ok_or(UiaError::UnknownSession)
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

    /// Whether an earlier authentication of the requester authorises this attempt too.
    fn needs_no_session(&self, attempt: &Attempt<'_>) -> bool {
        attempt.can_skip && self.authenticated_recently(attempt.requester)
    }

    fn authenticated_recently(&self, requester: Option<&Requester>) -> bool {
        let Some(requester) = requester.filter(|_| !self.skip_within.is_zero()) else { return false };
        let recent = self.recent.lock();
        let last = recent.get(&requester.token_id);
        last.is_some_and(|last| self.clock.monotonic().saturating_sub(*last) < self.skip_within)
    }

    fn remember(&self, requester: Option<&Requester>) {
        let Some(requester) = requester.filter(|_| !self.skip_within.is_zero()) else { return };
        let now = self.clock.monotonic();
        let mut recent = self.recent.lock();
        if recent.len() >= MAX_RECENT {
            recent.retain(|_, last| now.saturating_sub(*last) < self.skip_within);
        }
        if recent.len() < MAX_RECENT {
            recent.insert(requester.token_id, now);
        }
    }
}

fn incomplete(session: &Session, attempt: &Attempt<'_>, failure: Option<StageFailure>) -> UiaError {
    UiaError::Incomplete(Box::new(Challenge {
        session_id: session.session_id.clone(),
        flows: attempt.flows.clone(),
        completed: session.completed.clone(),
        failure,
    }))
}

impl From<LoginError> for UiaError {
    /// Anything but a wrong password is the server's fault.
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Hash(error) => Self::Hash(error),
            LoginError::Database(error) => Self::Database(error),
            LoginError::Limited(refused) => Self::Limited(refused),
            LoginError::WrongPassword
            | LoginError::WrongToken
            | LoginError::NotItsUser
            | LoginError::Deactivated
            | LoginError::Locked => Self::NoFlow,
        }
    }
}
