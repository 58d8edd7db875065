//! The stages a client can complete.

use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::{registration_tokens, ui_auth};

use super::{Attempt, UiaError, UserInteractiveAuth};
use crate::login::LoginError;

/// Nothing to do.
pub const DUMMY: &str = "m.login.dummy";
/// The account's password.
pub const PASSWORD: &str = "m.login.password";
/// A registration token.
pub const REGISTRATION_TOKEN: &str = "m.login.registration_token";

/// Why a stage was not completed: `errcode` and `error` of the 401 answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StageFailure {
    /// `M_FORBIDDEN`
    #[error("Invalid username or password")]
    WrongPassword,
    /// `M_UNAUTHORIZED`
    #[error("Invalid registration token")]
    InvalidRegistrationToken,
}

impl UserInteractiveAuth {
    /// Tries the stage that `auth` names. A client's wrong answer is `Some`.
    pub(super) async fn try_stage(
        &self,
        session: &ui_auth::Session,
        attempt: &Attempt<'_>,
        auth: &Object,
    ) -> Result<Option<StageFailure>, UiaError> {
        let stage = auth.get_str("type").ok_or(UiaError::MissingField("type"))?;
        if !attempt.flows.iter().flatten().any(|offered| *offered == stage) {
            return Err(UiaError::UnknownStage);
        }
        match stage {
            DUMMY => self.complete_dummy(session).await.map(|()| None),
            PASSWORD => self.check_password(session, attempt, auth).await,
            REGISTRATION_TOKEN => {
                let token = auth.get_str("token").ok_or(UiaError::MissingField("token"))?;
                self.use_registration_token(session, token).await
            }
            _ => Err(UiaError::UnknownStage),
        }
    }

    pub(super) async fn complete_dummy(&self, session: &ui_auth::Session) -> Result<(), UiaError> {
        let id = session.session_id.clone();
        self.db.write::<_, DbError, _>(move |tx| ui_auth::complete_stage(tx, &id, DUMMY)).await?;
        Ok(())
    }

    async fn check_password(
        &self,
        session: &ui_auth::Session,
        attempt: &Attempt<'_>,
        auth: &Object,
    ) -> Result<Option<StageFailure>, UiaError> {
        let password = auth.get_str("password").ok_or(UiaError::MissingField("password"))?;
        let Some(requester) = attempt.requester else { return Err(UiaError::UnknownStage) };
        // The name is optional here, as the access token tells it; another user's is refused.
        let named = auth
            .get_object("identifier")
            .and_then(|identifier| identifier.get_str("user"))
            .or_else(|| auth.get_str("user"));
        let is_requester = |name: &str| self.logins.qualified(name).is_some_and(|id| id == requester.user_id);
        if named.is_some_and(|name| !is_requester(name)) {
            return Ok(Some(StageFailure::WrongPassword));
        }
        match self.logins.by_password(Some(&requester.user_id), password).await {
            Ok(user_id) if user_id == requester.user_id => {}
            Ok(_) | Err(LoginError::WrongPassword | LoginError::Deactivated | LoginError::Locked) => {
                return Ok(Some(StageFailure::WrongPassword));
            }
            Err(error) => return Err(error.into()),
        }
        let id = session.session_id.clone();
        self.db.write::<_, DbError, _>(move |tx| ui_auth::complete_stage(tx, &id, PASSWORD)).await?;
        Ok(None)
    }

    /// Reserves a use of the token for the session: it counts as used only once the account is registered.
    pub(super) async fn use_registration_token(
        &self,
        session: &ui_auth::Session,
        token: &str,
    ) -> Result<Option<StageFailure>, UiaError> {
        let (id, token, now) = (session.session_id.clone(), token.to_owned(), self.clock.now_ms());
        if token.contains('\0') {
            return Ok(Some(StageFailure::InvalidRegistrationToken));
        }
        let accepted: bool = self
            .db
            .write::<_, DbError, _>(move |tx| {
                let reserved = ui_auth::get(tx, &id)?.and_then(|session| session.registration_token);
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
                ui_auth::set_registration_token(tx, &id, Some(&token))?;
                ui_auth::complete_stage(tx, &id, REGISTRATION_TOKEN)?;
                Ok(true)
            })
            .await?;
        Ok((!accepted).then_some(StageFailure::InvalidRegistrationToken))
    }
}
