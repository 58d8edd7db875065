//! Registration tokens: creating, listing and changing them, by Synapse's rules.

use plexus_base::Random;
use plexus_store::repo::registration_tokens::{self, RegistrationToken};
use plexus_store::{DbError, Tx};

/// The characters of tokens; the punctuation comes last.
const ALLOWED: &[u8; 66] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
/// How many of [`ALLOWED`] are letters and digits.
const ALPHANUMERIC: usize = 62;
/// The longest token, in characters.
pub const MAX_LENGTH: usize = 64;
/// The length of a generated token, in characters, unless the administrator asks for another.
pub const DEFAULT_LENGTH: usize = 16;
/// How many tokens are generated until one is new.
const ATTEMPTS: u32 = 3;

/// Why a token was not created, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationTokenError {
    /// The token is empty or too long.
    #[error("token must not be empty and must not be longer than 64 characters")]
    Length,
    /// The token has other characters than allowed.
    #[error("token must consist only of characters matched by the regex [A-Za-z0-9._~-]")]
    Characters,
    /// The length of a generated token is zero or too large.
    #[error("length must be greater than zero and not greater than 64")]
    GeneratedLength,
    /// The expiry time is in the past.
    #[error("expiry_time must not be in the past")]
    Past,
    /// There is such a token already.
    #[error("Token already exists: {0}")]
    Exists(String),
    /// Every token that was generated exists already.
    #[error("Unable to generate a unique registration token. Try again with a greater length")]
    NoneFree,
    /// There is no such token.
    #[error("No such registration token: {0}")]
    Unknown(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The text of a new token.
#[derive(Debug, Clone)]
pub enum NewToken {
    /// This text.
    Given(String),
    /// Generated, with this many characters.
    Generated(usize),
}

/// The uses that a token allows; in a change `None` leaves them as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// How often it can be used; `Some(None)`: without limit.
    pub uses_allowed: Option<Option<u64>>,
    /// Unix ms until which it can be used; `Some(None)`: for ever.
    pub expiry_ts: Option<Option<u64>>,
}

/// Creates a token at `now` (Unix ms).
///
/// # Errors
/// See [`RegistrationTokenError`].
pub fn create(
    tx: &mut Tx,
    random: &Random,
    now: u64,
    token: NewToken,
    allows: Change,
) -> Result<RegistrationToken, RegistrationTokenError> {
    check_expiry(allows, now)?;
    let token = match token {
        NewToken::Given(token) => checked(token)?,
        NewToken::Generated(length) => generated(tx, random, length)?,
    };
    let (uses_allowed, expiry_ts) = (allows.uses_allowed.flatten(), allows.expiry_ts.flatten());
    let token = RegistrationToken { token, uses_allowed, pending: 0, completed: 0, expiry_ts };
    if registration_tokens::insert(tx, &token)? { Ok(token) } else { Err(RegistrationTokenError::Exists(token.token)) }
}

/// Returns every token; with `valid` only those that can, or cannot, be used at `now` (Unix ms).
///
/// # Errors
/// When the database fails.
pub fn list(tx: &mut Tx, valid: Option<bool>, now: u64) -> Result<Vec<RegistrationToken>, DbError> {
    let mut tokens = registration_tokens::list(tx)?;
    tokens.retain(|token| valid.is_none_or(|valid| token.is_valid(now) == valid));
    Ok(tokens)
}

/// Returns the token with this text.
///
/// # Errors
/// `Unknown`, or the database's.
pub fn get(tx: &mut Tx, token: &str) -> Result<RegistrationToken, RegistrationTokenError> {
    // No database stores U+0000.
    let found = if token.contains('\0') { None } else { registration_tokens::get(tx, token)? };
    found.ok_or_else(|| RegistrationTokenError::Unknown(token.to_owned()))
}

/// Changes what a token allows, at `now` (Unix ms).
///
/// # Errors
/// `Past`, `Unknown`, or the database's.
pub fn update(tx: &mut Tx, now: u64, token: &str, change: Change) -> Result<RegistrationToken, RegistrationTokenError> {
    check_expiry(change, now)?;
    let mut token = get(tx, token)?;
    token.uses_allowed = change.uses_allowed.unwrap_or(token.uses_allowed);
    token.expiry_ts = change.expiry_ts.unwrap_or(token.expiry_ts);
    registration_tokens::update(tx, &token.token, token.uses_allowed, token.expiry_ts)?;
    Ok(token)
}

/// Deletes a token. Registrations that have given it already can still be completed.
///
/// # Errors
/// `Unknown`, or the database's.
pub fn delete(tx: &mut Tx, token: &str) -> Result<(), RegistrationTokenError> {
    get(tx, token)?;
    registration_tokens::delete(tx, token)?;
    Ok(())
}

fn check_expiry(change: Change, now: u64) -> Result<(), RegistrationTokenError> {
    match change.expiry_ts.flatten() {
        Some(expiry) if expiry < now => Err(RegistrationTokenError::Past),
        _ => Ok(()),
    }
}

fn checked(token: String) -> Result<String, RegistrationTokenError> {
    if token.is_empty() || token.chars().count() > MAX_LENGTH {
        return Err(RegistrationTokenError::Length);
    }
    if token.bytes().all(|byte| ALLOWED.contains(&byte)) { Ok(token) } else { Err(RegistrationTokenError::Characters) }
}

fn generated(tx: &mut Tx, random: &Random, length: usize) -> Result<String, RegistrationTokenError> {
    if length == 0 || length > MAX_LENGTH {
        return Err(RegistrationTokenError::GeneratedLength);
    }
    for _ in 0..ATTEMPTS {
        // A token that begins with `-` would be taken for an option by commands.
        let letters =
            (0..length).map(|at| random.below(if at == 0 { ALPHANUMERIC } else { ALLOWED.len() } as u64) as usize);
        let token: String = letters.filter_map(|at| ALLOWED.get(at)).map(|byte| char::from(*byte)).collect();
        if registration_tokens::get(tx, &token)?.is_none() {
            return Ok(token);
        }
    }
    Err(RegistrationTokenError::NoneFree)
}
