//! Registration by whoever knows `registration_shared_secret`: what `register_new_matrix_user` does
//! (Synapse's /_synapse/admin/v1/register).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use plexus_base::{Clock, Random};
use sha1::Sha1;

/// How long a nonce is good for.
const NONCE_LIFETIME: Duration = Duration::from_secs(60);
/// Nonces waiting at a time; beyond, the oldest are forgotten.
const MAX_NONCES: usize = 10_000;

/// What the caller signed.
#[derive(Debug, Clone, Copy)]
pub struct SignedRegistration<'a> {
    pub nonce: &'a str,
    pub username: &'a str,
    pub password: &'a str,
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
}

/// Hands out nonces and checks MACs.
#[derive(Debug)]
pub struct SharedSecret {
    clock: Clock,
    random: Random,
    secret: Option<String>,
    /// Nonce -> when it was made, on the monotonic clock.
    nonces: Mutex<HashMap<String, Duration>>,
}

impl SharedSecret {
    /// `secret` is `registration_shared_secret`; without it every call answers `Disabled`.
    #[must_use]
    pub fn new(clock: Clock, random: Random, secret: Option<String>) -> Self {
        Self { clock, random, secret: secret.filter(|secret| !secret.is_empty()), nonces: Mutex::default() }
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, HashMap<String, Duration>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A nonce, good for one registration within 60 seconds.
    ///
    /// # Errors
    /// `Disabled`.
    pub fn nonce(&self) -> Result<String, SharedSecretError> {
        if self.secret.is_none() {
            return Err(SharedSecretError::Disabled);
        }
        let now = self.clock.monotonic();
        let nonce = self.random.alphanumeric(64);
        let mut nonces = self.nonces();
        nonces.retain(|_, made| now.saturating_sub(*made) < NONCE_LIFETIME);
        if nonces.len() >= MAX_NONCES {
            let oldest = nonces.iter().min_by_key(|(_, made)| **made).map(|(nonce, _)| nonce.clone());
            oldest.and_then(|nonce| nonces.remove(&nonce));
        }
        nonces.insert(nonce.clone(), now);
        Ok(nonce)
    }

    /// Checks a registration; its nonce is spent, whatever the outcome. `mac` is lower or upper case hexadecimal.
    ///
    /// # Errors
    /// See [`SharedSecretError`].
    pub fn check(&self, registration: SignedRegistration<'_>, mac: &str) -> Result<(), SharedSecretError> {
        let secret = self.secret.as_deref().ok_or(SharedSecretError::Disabled)?;
        let now = self.clock.monotonic();
        let made = self.nonces().remove(registration.nonce);
        if made.is_none_or(|made| now.saturating_sub(made) >= NONCE_LIFETIME) {
            return Err(SharedSecretError::UnknownNonce);
        }
        let SignedRegistration { username, password, .. } = registration;
        let unusable = |text: &str| text.is_empty() || text.len() > 512 || text.contains('\0');
        if unusable(username) || unusable(password) {
            return Err(SharedSecretError::Unusable);
        }
        let mac = unhex(mac).ok_or(SharedSecretError::WrongMac)?;
        signed(secret, registration).verify_slice(&mac).map_err(|_| SharedSecretError::WrongMac)
    }
}

/// The MAC of a registration, in hexadecimal: what a command line tool sends.
#[must_use]
pub fn shared_secret_mac(secret: &str, registration: SignedRegistration<'_>) -> String {
    let mac = signed(secret, registration).finalize().into_bytes();
    mac.iter().map(|byte| format!("{byte:02x}")).collect()
}

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

    fn shared(clock: &Clock) -> SharedSecret {
        SharedSecret::new(clock.clone(), Random::seeded(1), Some("shared".to_owned()))
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
        assert_eq!(shared.check(registration(&nonce), &mac.to_uppercase()), Ok(()));
        assert_eq!(shared.check(registration(&nonce), &mac), Err(SharedSecretError::UnknownNonce));

        let nonce = shared.nonce().unwrap();
        assert_eq!(shared.check(registration(&nonce), &mac), Err(SharedSecretError::WrongMac));
        let nonce = shared.nonce().unwrap();
        assert_eq!(shared.check(registration(&nonce), "x"), Err(SharedSecretError::WrongMac));

        let nonce = shared.nonce().unwrap();
        clock.advance(NONCE_LIFETIME);
        let mac = shared_secret_mac("shared", registration(&nonce));
        assert_eq!(shared.check(registration(&nonce), &mac), Err(SharedSecretError::UnknownNonce));
    }

    #[test]
    fn without_a_secret_it_is_off() {
        let shared = SharedSecret::new(Clock::manual(0), Random::seeded(1), None);
        assert_eq!(shared.nonce(), Err(SharedSecretError::Disabled));
        assert_eq!(shared.check(registration("x"), "00"), Err(SharedSecretError::Disabled));
    }
}
