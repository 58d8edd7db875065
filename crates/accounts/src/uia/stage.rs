//! The stages a client can complete.

use std::net::IpAddr;

use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::{registration_tokens, ui_auth};

use super::{Attempt, Flow, UiaError, UserInteractiveAuth};
use crate::login::LoginError;

/// Nothing to do.
pub const DUMMY: &str = "m.login.dummy";
/// The account's password.
pub const PASSWORD: &str = "m.login.password";
/// A registration token.
pub const REGISTRATION_TOKEN: &str = "m.login.registration_token";

/// Why a stage was not completed: `errcode` and `error` of the 401 response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StageFailure {
    /// `M_FORBIDDEN`
    #[error("Invalid username or password")]
    WrongPassword,
    /// `M_UNAUTHORIZED`
    #[error("Invalid registration token")]
    InvalidRegistrationToken,
}

/// Returns the stage that `auth` tries, if it tries any.
pub(super) fn offered(flows: &[Flow], auth: &Object) -> Result<Option<&'static str>, UiaError> {
    if !auth.contains_key("type") {
        return Ok(None);
    }
    let named = auth.get_str("type").ok_or(UiaError::MissingField("type"))?;
    let stage = flows.iter().flatten().find(|offered| **offered == named);
    stage.copied().map(Some).ok_or(UiaError::UnknownStage)
}

impl UserInteractiveAuth {
    /// Tries the stage that `auth` names. Returns the failure if the client's answer is wrong.
    pub(super) async fn try_stage(
        &self,
        session: &ui_auth::Session,
        stage: &'static str,
        attempt: &Attempt<'_>,
        auth: &Object,
    ) -> Result<Option<StageFailure>, UiaError> {
        match stage {
            DUMMY | PASSWORD => {
                let failure = self.failure_without_session(stage, attempt, auth).await?;
                if failure.is_none() {
                    self.complete(session, stage).await?;
                }
                Ok(failure)
            }
            REGISTRATION_TOKEN => {
                let token = auth.get_str("token").ok_or(UiaError::MissingField("token"))?;
                self.use_registration_token(session, token, attempt.address).await
            }
            _ => Err(UiaError::UnknownStage),
        }
    }

    pub(super) async fn complete(&self, session: &ui_auth::Session, stage: &'static str) -> Result<(), UiaError> {
        let session = session.clone();
        self.db
            .write::<_, DbError, _>(move |tx| {
                ui_auth::insert(tx, &session)?;
                ui_auth::complete_stage(tx, &session.session_id, stage)
            })
            .await?;
        Ok(())
    }

    /// Tries a stage that needs no session. Returns why it failed.
    pub(super) async fn failure_without_session(
        &self,
        stage: &'static str,
        attempt: &Attempt<'_>,
        auth: &Object,
    ) -> Result<Option<StageFailure>, UiaError> {
        match stage {
            DUMMY => Ok(None),
            PASSWORD => self.check_password(attempt, auth).await,
            _ => Err(UiaError::UnknownStage),
        }
    }

    async fn check_password(&self, attempt: &Attempt<'_>, auth: &Object) -> Result<Option<StageFailure>, UiaError> {
        let password = auth.get_str("password").ok_or(UiaError::MissingField("password"))?;
        let Some(requester) = attempt.requester else { return Err(UiaError::UnknownStage) };
        // The name is optional here, because the access token has it; another user's is refused.
        let named = auth
            .get_object("identifier")
            .and_then(|identifier| identifier.get_str("user"))
            .or_else(|| auth.get_str("user"));
        let is_requester = |name: &str| self.logins.qualified(name).is_some_and(|id| id == requester.user_id);
        if named.is_some_and(|name| !is_requester(name)) {
            return Ok(Some(StageFailure::WrongPassword));
        }
        match self.logins.by_own_password(&requester.user_id, password).await {
            Ok(user_id) if user_id == requester.user_id => Ok(None),
            Ok(_) | Err(LoginError::WrongPassword | LoginError::Deactivated | LoginError::Locked) => {
                Ok(Some(StageFailure::WrongPassword))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reserves a use of the token for the session: it counts as used only once the account is registered.
    pub(super) async fn use_registration_token(
        &self,
        session: &ui_auth::Session,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<Option<StageFailure>, UiaError> {
        let guess = self.guesses.registration_token(address)?;
        let (session, token, now) = (session.clone(), token.to_owned(), self.clock.now_ms());
        if token.contains('\0') {
            return Ok(Some(StageFailure::InvalidRegistrationToken));
        }
        let accepted: bool = self
            .db
            .write::<_, DbError, _>(move |tx| {
                let id = session.session_id.as_str();
                let reserved = ui_auth::get(tx, id)?.and_then(|session| session.registration_token);
                if reserved.as_ref() == Some(&token) {
                    return Ok(true);
                }
                let valid = registration_tokens::get(tx, &token)?.is_some_and(|token| token.is_valid(now));
                if !valid {
                    return Ok(false);
                }
                if let Some(other) = reserved {
                    registration_tokens::release_pending(tx, &other)?;
                }
                registration_tokens::add_pending(tx, &token)?;
                ui_auth::insert(tx, &session)?;
                ui_auth::set_registration_token(tx, id, Some(&token))?;
                ui_auth::complete_stage(tx, id, REGISTRATION_TOKEN)?;
                Ok(true)
            })
            .await?;
        if accepted {
            guess.give_back();
        }
        Ok((!accepted).then_some(StageFailure::InvalidRegistrationToken))
    }
}
