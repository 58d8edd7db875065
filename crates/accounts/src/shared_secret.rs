//! Registration with `registration_shared_secret`, as `register_new_matrix_user` does it (Synapse's
//! /_synapse/admin/v1/register).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use plexus_base::{Clock, LimitExceeded, Random};
use sha1::Sha1;

use crate::guesses::GuessLimits;
use crate::ticket::{Purpose, Tickets};

/// How long a nonce is valid.
const NONCE_LIFETIME: Duration = Duration::from_secs(60);

/// The part of a registration that the caller signed.
#[derive(Debug, Clone, Copy)]
pub struct SignedRegistration<'a> {
    /// A nonce of this server.
    pub nonce: &'a str,
    /// The new user's localpart.
    pub username: &'a str,
    /// The new user's password.
    pub password: &'a str,
    /// Whether the user becomes a server administrator.
    pub is_admin: bool,
    /// Part of what is signed only when given.
    pub user_type: Option<&'a str>,
}

/// Why a registration by shared secret is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharedSecretError {
    /// 400 `M_UNKNOWN`
    #[error("Shared secret registration is not enabled")]
    Disabled,
    /// 400 `M_UNKNOWN`
    #[error("unrecognised nonce")]
    UnknownNonce,
    /// 403 `M_UNKNOWN`
    #[error("HMAC incorrect")]
    WrongMac,
    /// 400 `M_UNKNOWN`
    #[error("Invalid username or password: they must be shorter than 512 bytes and without NUL")]
    Unusable,
    /// 429 `M_LIMIT_EXCEEDED`
    #[error(transparent)]
    Limited(#[from] LimitExceeded),
}

/// Issues nonces and checks MACs.
pub struct SharedSecret {
    clock: Clock,
    secret: Option<String>,
    guesses: Arc<GuessLimits>,
    /// A nonce is a ticket, so that anybody may ask for any number of them.
    nonces: Tickets,
    /// The nonces that were used, with the Unix ms at which they were issued. Only a right MAC adds an entry, which is
    /// removed when the nonce would have expired anyway. Owned by this process.
    used: Mutex<HashMap<String, u64>>,
}

impl SharedSecret {
    /// Creates the service. `secret` is `registration_shared_secret`; without it every call fails with `Disabled`.
    #[must_use]
    pub(crate) fn new(clock: Clock, random: Random, secret: Option<String>, guesses: Arc<GuessLimits>) -> Self {
        let nonces = Tickets::new(clock.clone(), random, NONCE_LIFETIME);
        let secret = secret.filter(|secret| !secret.is_empty());
        Self { clock, secret, guesses, nonces, used: Mutex::default() }
    }

    /// Returns a nonce, good for one registration within 60 seconds.
    ///
    /// # Errors
    /// `Disabled`.
    pub fn nonce(&self) -> Result<String, SharedSecretError> {
        match self.secret {
            Some(_) => Ok(self.nonces.issue(Purpose::SharedSecretNonce, &[])),
            None => Err(SharedSecretError::Disabled),
        }
    }

    /// Checks a registration that comes from `address`. A right one uses up the nonce. `mac` is hexadecimal, in either
    /// case.
    ///
    /// # Errors
    /// See [`SharedSecretError`].
    pub fn check(
        &self,
        registration: SignedRegistration<'_>,
        mac: &str,
        address: Option<IpAddr>,
    ) -> Result<(), SharedSecretError> {
        let secret = self.secret.as_deref().ok_or(SharedSecretError::Disabled)?;
        let nonce =
            self.nonces.open(Purpose::SharedSecretNonce, registration.nonce).ok_or(SharedSecretError::UnknownNonce)?;
        let SignedRegistration { username, password, .. } = registration;
        let unusable = |text: &str| text.is_empty() || text.len() > 512 || text.contains('\0');
        if unusable(username) || unusable(password) {
            return Err(SharedSecretError::Unusable);
        }
        let guess = self.guesses.shared_secret(address)?;
        let mac = unhex(mac).ok_or(SharedSecretError::WrongMac)?;
        signed(secret, registration).verify_slice(&mac).map_err(|_| SharedSecretError::WrongMac)?;
        guess.give_back();
        if self.spend(registration.nonce, nonce.created_ts) { Ok(()) } else { Err(SharedSecretError::UnknownNonce) }
    }

    /// Records that a nonce was used. Returns false if it was used before.
    fn spend(&self, nonce: &str, created_ts: u64) -> bool {
        let now = self.clock.now_ms();
        let mut used = self.used.lock();
        used.retain(|_, created_ts| Duration::from_millis(now.saturating_sub(*created_ts)) < NONCE_LIFETIME);
        used.insert(nonce.to_owned(), created_ts).is_none()
    }
}

/// Returns the MAC of a registration, in hexadecimal: what a command line tool sends.
#[must_use]
pub fn shared_secret_mac(secret: &str, registration: SignedRegistration<'_>) -> String {
    let mac = signed(secret, registration).finalize().into_bytes();
    mac.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::expect_used, reason = "the type has an error that HMAC never returns")]
fn signed(secret: &str, registration: SignedRegistration<'_>) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(registration.nonce.as_bytes());
    mac.update(b"\0");
    mac.update(registration.username.as_bytes());
    mac.update(b"\0");
    mac.update(registration.password.as_bytes());
    mac.update(b"\0");
    mac.update(if registration.is_admin { b"admin" } else { b"notadmin" });
    if let Some(user_type) = registration.user_type {
        mac.update(b"\0");
        mac.update(user_type.as_bytes());
    }
    mac
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::GuessSettings;

    fn shared(clock: &Clock) -> SharedSecret {
        with_secret(clock, Some("shared".to_owned()))
    }

    fn with_secret(clock: &Clock, secret: Option<String>) -> SharedSecret {
        let guesses = Arc::new(GuessLimits::new(GuessSettings::default(), clock));
        SharedSecret::new(clock.clone(), Random::seeded(1), secret, guesses)
    }

    fn registration(nonce: &str) -> SignedRegistration<'_> {
        SignedRegistration { nonce, username: "bob", password: "abc123", is_admin: true, user_type: Some("support") }
    }

    #[test]
    fn the_mac_is_synapses() {
        // printf 'abcd\0bob\0abc123\0admin\0support' | openssl sha1 -hmac shared
        let plain = SignedRegistration { is_admin: false, user_type: None, ..registration("abcd") };
        assert_eq!(shared_secret_mac("shared", plain), "18e7c570a29fc1f7f71a32c9e468f5fb7e0e6bba");
        assert_eq!(shared_secret_mac("shared", registration("abcd")), "cedfc6e7cada5e1611460bbe13bb2a0964495e83");
    }

    #[test]
    fn a_nonce_is_good_once_for_a_minute() {
        let clock = Clock::manual(0);
        let shared = shared(&clock);
        let nonce = shared.nonce().unwrap();
        let mac = shared_secret_mac("shared", registration(&nonce));
        assert_eq!(shared.check(registration(&nonce), &mac.to_uppercase(), None), Ok(()));
        assert_eq!(shared.check(registration(&nonce), &mac, None), Err(SharedSecretError::UnknownNonce));

        let nonce = shared.nonce().unwrap();
        assert_eq!(shared.check(registration(&nonce), &mac, None), Err(SharedSecretError::WrongMac));
        let nonce = shared.nonce().unwrap();
        assert_eq!(shared.check(registration(&nonce), "x", None), Err(SharedSecretError::WrongMac));

        let nonce = shared.nonce().unwrap();
        clock.advance(NONCE_LIFETIME);
        let mac = shared_secret_mac("shared", registration(&nonce));
        assert_eq!(shared.check(registration(&nonce), &mac, None), Err(SharedSecretError::UnknownNonce));
    }

    #[test]
    fn others_cannot_push_out_a_nonce_nor_guess_on() {
        let clock = Clock::manual(0);
        let shared = shared(&clock);
        let nonce = shared.nonce().unwrap();
        for _ in 0..20_000 {
            shared.nonce().unwrap();
        }
        let mac = shared_secret_mac("shared", registration(&nonce));
        let (stranger, owner) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        for _ in 0..20 {
            assert_eq!(shared.check(registration(&nonce), "00", stranger), Err(SharedSecretError::WrongMac));
        }
        let limited = shared.check(registration(&nonce), &mac, stranger);
        assert!(matches!(limited, Err(SharedSecretError::Limited(_))), "{limited:?}");
        assert_eq!(shared.check(registration(&nonce), &mac, owner), Ok(()));
    }

    #[test]
    fn without_a_secret_it_is_off() {
        let shared = with_secret(&Clock::manual(0), None);
        assert_eq!(shared.nonce(), Err(SharedSecretError::Disabled));
        assert_eq!(shared.check(registration("x"), "00", None), Err(SharedSecretError::Disabled));
    }
}
