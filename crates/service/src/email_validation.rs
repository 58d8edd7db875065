//! Validating addresses of users: a link is sent to the address, and whoever opens it has the address
//! (<https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information>).

use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_mail::{EmailAddress, MailError, Mailer, NotQueued};
use plexus_net::percent_encode;
use plexus_protocol::id::UserId;
use plexus_store::repo::threepid_validations::{self, ThreepidValidation};
use plexus_store::repo::users::{self, ThreePid};
use plexus_store::{Database, DbError, Tx};

/// The medium of electronic mail.
pub const EMAIL: &str = "email";
/// How long a validation can be used, from its begin.
const LIFETIME: Duration = Duration::from_secs(86_400);
/// The lengths of what is guessed at, in letters and digits.
const SESSION_ID_CHARS: usize = 16;
const TOKEN_CHARS: usize = 32;

/// The longest opaque identifier, in characters.
const MAX_OPAQUE_ID_CHARS: usize = 255;

/// Whether a text can be an opaque identifier, as client secrets and the ids of sessions are
/// (<https://spec.matrix.org/v1.19/appendices/#opaque-identifiers>).
#[must_use]
pub fn is_opaque_id(text: &str) -> bool {
    let is_permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '=' | '_' | '-' | '~');
    (1..=MAX_OPAQUE_ID_CHARS).contains(&text.len()) && text.chars().all(is_permitted)
}

/// What [`EmailValidation`] uses.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct EmailValidationParts {
    pub db: Database,
    pub clock: Clock,
    pub random: Random,
    pub mailer: Arc<Mailer>,
    /// What links begin with, with a slash at the end.
    pub base_url: String,
    /// How long a link can be opened.
    pub token_lifetime: Duration,
    /// Whether a request hides whether an account has an address.
    pub hides_accounts: bool,
}

/// Validates addresses.
#[derive(Clone)]
pub struct EmailValidation {
    parts: Arc<EmailValidationParts>,
}

/// A request to validate an address.
#[derive(Debug, Clone)]
pub struct ValidationRequest {
    /// The address.
    pub address: EmailAddress,
    /// What the client proves later with that it made the request.
    pub client_secret: String,
    /// Another mail is sent for a higher number only.
    pub send_attempt: u64,
    /// Where the link leads in the end.
    pub next_link: Option<String>,
}

/// Why no mail is sent.
#[derive(Debug, thiserror::Error)]
pub enum ValidationRequestError {
    /// An account has the address.
    #[error("Email is already in use")]
    InUse,
    /// The mail cannot be made.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The mail cannot be queued.
    #[error(transparent)]
    Queue(#[from] NotQueued),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why a link does nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no such validation, or none any more.
    #[error("The link is not known, or has expired.")]
    Unknown,
    /// The link is too old.
    #[error("The link has expired.")]
    Expired,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why an address is not added.
#[derive(Debug, thiserror::Error)]
pub enum AddAddressError {
    /// The link has not been opened, or that was too long ago.
    #[error("No validated 3pid session found")]
    NotValidated,
    /// Another account has the address.
    #[error("Email is already in use")]
    InUse,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl EmailValidation {
    /// Creates the service.
    pub fn new(parts: EmailValidationParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Returns what makes mail.
    pub fn mailer(&self) -> &Arc<Mailer> {
        &self.parts.mailer
    }

    /// Sends a link to an address that an account is to get, unless this attempt has been made before. Returns the id
    /// of the session.
    ///
    /// # Errors
    /// See [`ValidationRequestError`].
    pub async fn request(&self, request: ValidationRequest) -> Result<String, ValidationRequestError> {
        let this = self.clone();
        self.parts.db.write(move |tx| this.begin(tx, request)).await
    }

    fn begin(&self, tx: &mut Tx<'_>, request: ValidationRequest) -> Result<String, ValidationRequestError> {
        let EmailValidationParts { clock, random, mailer, token_lifetime, hides_accounts, .. } = &*self.parts;
        let now_ms = clock.now_ms();
        let begun = now_ms.saturating_sub(millis(LIFETIME));
        let ValidationRequest { address, client_secret, send_attempt, next_link } = request;
        let is_free = users::by_threepid(tx, EMAIL, address.as_str())?.is_none();
        if !is_free && !hides_accounts {
            return Err(ValidationRequestError::InUse);
        }
        let earlier = threepid_validations::find(tx, EMAIL, address.as_str(), &client_secret, begun)?;
        if let Some(earlier) = &earlier
            && send_attempt <= earlier.send_attempt
        {
            return Ok(earlier.session_id.clone());
        }
        let session = earlier.unwrap_or_else(|| ThreepidValidation {
            session_id: random.alphanumeric(SESSION_ID_CHARS),
            medium: EMAIL.to_owned(),
            address: address.to_string(),
            client_secret,
            send_attempt,
            token: random.alphanumeric(TOKEN_CHARS),
            token_expires_ms: 0,
            next_link: None,
            created_ms: now_ms,
            validated_ms: None,
        });
        let token_expires_ms = now_ms + millis(*token_lifetime);
        let session = ThreepidValidation { send_attempt, next_link, token_expires_ms, ..session };
        let mail = mailer.add_address(&address, &self.link(&session))?;
        threepid_validations::delete_until(tx, begun)?;
        threepid_validations::set(tx, &session)?;
        mailer.queue().require_space(tx)?;
        // Where accounts are hidden, nothing but the mail differs for an address that one has.
        if is_free {
            mailer.queue().add(tx, mail, session.token_expires_ms)?;
        }
        Ok(session.session_id)
    }

    fn link(&self, session: &ThreepidValidation) -> String {
        let ThreepidValidation { session_id, client_secret, token, .. } = session;
        let (base, secret) = (&self.parts.base_url, percent_encode(client_secret));
        format!(
            "{base}_matrix/client/unstable/add_threepid/email/submit_token?token={token}&client_secret={secret}\
             &sid={session_id}"
        )
    }

    /// Records that a link was opened. Returns where it leads, if not to a page of this server.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn open_link(
        &self,
        session_id: String,
        client_secret: String,
        token: String,
    ) -> Result<Option<String>, LinkError> {
        if !is_opaque_id(&session_id) {
            return Err(LinkError::Unknown);
        }
        let now_ms = self.parts.clock.now_ms();
        let open = move |tx: &mut Tx<'_>| {
            let session = threepid_validations::get(tx, &session_id)?;
            let known = session.filter(|session| session.client_secret == client_secret && session.token == token);
            let Some(mut session) = known else { return Err(LinkError::Unknown) };
            if session.validated_ms.is_none() {
                if now_ms > session.token_expires_ms {
                    return Err(LinkError::Expired);
                }
                session.validated_ms = Some(now_ms);
                threepid_validations::set(tx, &session)?;
            }
            Ok(session.next_link)
        };
        self.parts.db.write(open).await
    }

    /// Gives a validated address to a user; the validation is used up.
    ///
    /// # Errors
    /// See [`AddAddressError`].
    pub async fn add_address(
        &self,
        user: &UserId,
        session_id: String,
        client_secret: String,
    ) -> Result<(), AddAddressError> {
        if !is_opaque_id(&session_id) {
            return Err(AddAddressError::NotValidated);
        }
        let (now_ms, user) = (self.parts.clock.now_ms(), user.clone());
        let add = move |tx: &mut Tx<'_>| {
            let session = threepid_validations::get(tx, &session_id)?;
            let is_it = |session: &ThreepidValidation| {
                session.client_secret == client_secret && session.created_ms + millis(LIFETIME) > now_ms
            };
            let Some(session) = session.filter(is_it) else { return Err(AddAddressError::NotValidated) };
            let Some(validated_ts) = session.validated_ms else { return Err(AddAddressError::NotValidated) };
            let ThreepidValidation { medium, address, .. } = session;
            let threepid = ThreePid { medium, address, validated_ts, added_ts: now_ms };
            if !users::add_threepid(tx, user.as_str(), &threepid)? {
                return Err(AddAddressError::InUse);
            }
            Ok(threepid_validations::delete(tx, &session_id)?)
        };
        self.parts.db.write(add).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_identifiers_have_few_characters() {
        assert!(is_opaque_id("aB0.=_-~"));
        for text in ["", "a b", "ä", "a\0", &"x".repeat(256)] {
            assert!(!is_opaque_id(text), "{text:?}");
        }
    }
}
