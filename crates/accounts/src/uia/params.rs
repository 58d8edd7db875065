//! The parameters of the requests of a session. Those given with any of them count (client-server API,
//! "User-interactive API in the REST API"): the request that completes the session may hold `auth` alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::ui_auth::{self, Session};
use sha2::{Digest as _, Sha256};

use super::{Attempt, Opened, UiaError, UserInteractiveAuth};
use crate::ticket::{Purpose, Ticket};

/// The largest parameters kept of a user's session, in bytes of JSON: room for the ids of some thousand devices.
const MAX_PARAMS: usize = 64 * 1024;
/// The largest parameters of a registration, in bytes of JSON. Its session id holds them, and is part of a URL.
const MAX_REGISTRATION_PARAMS: usize = 4 * 1024;
/// Parameters that are stored sealed, so that a copy of the database does not reveal them.
const SECRETS: [&str; 2] = ["password", "new_password"];

impl UserInteractiveAuth {
    /// Adds to the attempt the parameters that only earlier requests of its session gave. An attempt that needs no
    /// session is not refused because its session has expired.
    ///
    /// # Errors
    /// `UnknownSession`, `OperationChanged`, or the database's.
    pub async fn open<'a>(&self, mut attempt: Attempt<'a>) -> Result<Opened<'a>, UiaError> {
        let Some(id) = attempt.auth.as_ref().and_then(|auth| auth.get_str("session")) else {
            return Ok(attempt.into());
        };
        match self.load_for(id, &attempt).await {
            Ok(session) => {
                attempt.params = merged(self.given_before(&session)?, &attempt.params);
                Ok(Opened { attempt, session: Some(session) })
            }
            Err(UiaError::UnknownSession | UiaError::OperationChanged) if self.needs_no_session(&attempt) => {
                Ok(attempt.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the session of this id, with the parameters of `attempt` added to those that it has. They may change
    /// until the first stage is completed: some clients ask for the flows with an empty body. After that, passwords may
    /// still change, and those of a registration that are missing may be added.
    pub(super) async fn resume(
        &self,
        id: &str,
        loaded: Option<Session>,
        attempt: &mut Attempt<'_>,
    ) -> Result<Session, UiaError> {
        let mut session = match loaded {
            Some(session) => session,
            None => self.load_for(id, attempt).await?,
        };
        let before = self.given_before(&session)?;
        attempt.params = merged(before.clone(), &attempt.params);
        if attempt.params == before {
            return Ok(session);
        }
        if attempt.requester.is_none() {
            let params = parameters_digest(&attempt.params);
            let is_begun = !session.completed.is_empty() || session.registered_user_id.is_some();
            let is_changed = before.iter().any(|(name, value)| attempt.params.get(name) != Some(value));
            let is_final = session.registered_user_id.is_some() || is_changed;
            if is_begun && is_final && params != session.params {
                return Err(UiaError::OperationChanged);
            }
            let sealed =
                if is_begun { session.sealed } else { Some(self.sealed(Purpose::StoredParameters, &attempt.params)?) };
            return Ok(Session { params, sealed, ..session });
        }
        let params = stored(&attempt.params)?;
        if !session.completed.is_empty() && params != session.params {
            return Err(UiaError::OperationChanged);
        }
        session.params = params;
        session.sealed = self.sealed_secrets(&attempt.params);
        let changed = session.clone();
        self.db
            .write::<_, DbError, _>(move |tx| {
                ui_auth::set_params(tx, &changed.session_id, &changed.params, changed.sealed.as_deref())
            })
            .await?;
        Ok(session)
    }

    /// Returns the session of this id, if it is for this operation of this user.
    async fn load_for(&self, id: &str, attempt: &Attempt<'_>) -> Result<Session, UiaError> {
        let session = self.load(id).await?;
        let user_id = attempt.requester.map(|requester| requester.user_id.as_str());
        if session.operation == attempt.operation && session.user_id.as_deref() == user_id {
            Ok(session)
        } else {
            Err(UiaError::OperationChanged)
        }
    }

    /// Returns the session with which the client continues, with all that the attempt gave: a registration that has
    /// completed no stage gets another id when its parameters have changed.
    pub(super) async fn begun(&self, session: Option<Session>, attempt: &Attempt<'_>) -> Result<Session, UiaError> {
        let Some(session) = session else { return self.begin(attempt).await };
        let is_ticket = session.user_id.is_none() && session.completed.is_empty();
        if is_ticket && self.of_registration(&session.session_id).as_ref() != Some(&attempt.params) {
            self.begin(attempt).await
        } else {
            Ok(session)
        }
    }

    /// Returns the parameters that the session's requests have given so far. Those of a registration, and passwords, do
    /// not outlive the process: then the client has to give them once more.
    fn given_before(&self, session: &Session) -> Result<Object, DbError> {
        let sealed = || {
            let ticket = self.tickets.open(Purpose::StoredParameters, session.sealed.as_deref()?)?;
            of_ticket(&ticket)
        };
        if session.user_id.is_none() {
            // A stage may have been completed with other parameters than those that the id holds.
            let given = match session.sealed {
                Some(_) => sealed(),
                None => self.of_registration(&session.session_id),
            };
            return Ok(given.unwrap_or_default());
        }
        let params =
            Object::parse(&session.params).map_err(|error| DbError::bad_data("ui_auth_sessions.params", error))?;
        Ok(merged(params, &sealed().unwrap_or_default()))
    }

    /// Returns the parameters that the id of a registration's session holds.
    fn of_registration(&self, session_id: &str) -> Option<Object> {
        of_ticket(&self.tickets.open(Purpose::Registration, session_id)?)
    }

    /// Returns the id of a registration's session.
    pub(super) fn ticket(&self, params: &Object) -> Result<String, UiaError> {
        self.sealed(Purpose::Registration, params)
    }

    /// Returns the parameters of a registration, sealed.
    fn sealed(&self, purpose: Purpose, params: &Object) -> Result<String, UiaError> {
        let json = params.to_json();
        if json.len() <= MAX_REGISTRATION_PARAMS {
            Ok(self.tickets.issue(purpose, json.as_bytes()))
        } else {
            Err(UiaError::TooLarge)
        }
    }

    /// Returns the passwords among the parameters, sealed.
    pub(super) fn sealed_secrets(&self, params: &Object) -> Option<String> {
        let mut secrets = params.clone();
        secrets.retain(|name, _| SECRETS.contains(&name));
        (!secrets.is_empty()).then(|| self.tickets.issue(Purpose::StoredParameters, secrets.to_json().as_bytes()))
    }
}

/// Returns `params`, overwritten by those of `newer`.
fn merged(mut params: Object, newer: &Object) -> Object {
    for (name, value) in newer.iter() {
        params.insert(name, value.clone());
    }
    params
}

/// Returns the parameters that a ticket holds.
pub(super) fn of_ticket(ticket: &Ticket) -> Option<Object> {
    Object::parse(std::str::from_utf8(&ticket.content).ok()?).ok()
}

/// Returns the parameters of a user's session as they are stored.
pub(super) fn stored(params: &Object) -> Result<String, UiaError> {
    let json = params.to_json_without(&SECRETS);
    if json.len() <= MAX_PARAMS { Ok(json) } else { Err(UiaError::TooLarge) }
}

/// Returns the digest of a registration's parameters, which is all that is stored of them.
pub(super) fn parameters_digest(params: &Object) -> String {
    let json = params.to_json_without(&SECRETS);
    URL_SAFE_NO_PAD.encode(&Sha256::digest(json.as_bytes())[..16])
}
