//! Password hashes: argon2id for new ones, bcrypt accepted.

mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use argon2::{PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use plexus_base::Random;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization as _;

pub(crate) use policy::MAX_PASSWORD_BYTES;
pub use policy::{Policy, WeakPassword};

/// Memory of one hash in KiB, passes and lanes: OWASP's second recommendation. With one hash per core at a time, a crowd
/// that logs in at once takes 19 MiB per core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Why a password could not be hashed or checked. What is wrong with a password a user gave is not an error here.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("argon2: {0}")]
    Argon2(argon2::password_hash::Error),
    #[error("argon2 parameters: {0}")]
    Parameters(argon2::Error),
    /// A stored hash is neither a PHC string of argon2 nor bcrypt.
    #[error("a stored password hash is in an unknown format")]
    UnknownFormat,
    #[error("the hashing task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("the server is shutting down")]
    Closed(#[from] tokio::sync::AcquireError),
}

/// What checking a password found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, and the stored hash should be replaced by this one.
    RightUpgrade(String),
}

/// Hashes and checks passwords on the blocking pool, as many at a time as there are cores.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    pepper: Arc<str>,
    random: Random,
    running: Arc<Semaphore>,
}

impl PasswordHasher {
    /// `pepper` is `password_config.pepper`: a secret mixed into every hash, empty for none.
    #[must_use]
    pub fn new(pepper: &str, random: Random) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { pepper: pepper.into(), random, running: Arc::new(Semaphore::new(cores)) }
    }

    /// The hash to store, a PHC string.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        let (this, password) = (self.clone(), password.to_owned());
        self.blocking(move || this.hash_blocking(&password)).await
    }

    /// Checks a password against a stored hash.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn verify(&self, password: &str, stored: &str) -> Result<Verdict, HashError> {
        let (this, password, stored) = (self.clone(), password.to_owned(), stored.to_owned());
        self.blocking(move || this.verify_blocking(&password, &stored)).await
    }

    /// Takes as long as checking a password, so that the time of an answer does not tell which users exist.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn pretend(&self, password: &str) -> Result<(), HashError> {
        self.hash(password).await.map(drop)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let permit = self.running.clone().acquire_owned().await?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await?
    }

    /// As [`Self::hash`], on this thread: for command line tools.
    ///
    /// # Errors
    /// See [`HashError`].
    pub fn hash_blocking(&self, password: &str) -> Result<String, HashError> {
        let salt: [u8; 16] = self.random.bytes();
        let hash: PasswordHash = self
            .argon2()?
            .hash_password_with_salt(normalized(password).as_bytes(), &salt)
            .map_err(HashError::Argon2)?;
        Ok(hash.to_string())
    }

    fn verify_blocking(&self, password: &str, stored: &str) -> Result<Verdict, HashError> {
        if stored.starts_with("$argon2") {
            return self.verify_argon2(password, stored);
        }
        let peppered = format!("{}{}", normalized(password), self.pepper);
        if stored.starts_with("$2") {
            // Nobody has such a password: bcrypt ends it at the NUL or refuses it.
            if peppered.contains('\0') {
                return Ok(Verdict::Wrong);
            }
            // Longer input is cut at 72 bytes, as the bcrypt that made these hashes did.
            return match bcrypt::verify(&peppered, stored) {
                Ok(true) => Ok(Verdict::RightUpgrade(self.hash_blocking(password)?)),
                Ok(false) => Ok(Verdict::Wrong),
                Err(_) => Err(HashError::UnknownFormat),
            };
        }
        Err(HashError::UnknownFormat)
    }

    fn verify_argon2(&self, password: &str, stored: &str) -> Result<Verdict, HashError> {
        let hash = PasswordHash::new(stored).map_err(|_| HashError::UnknownFormat)?;
        let argon2 = self.argon2()?;
        if argon2.verify_password(normalized(password).as_bytes(), &hash).is_err() {
            return Ok(Verdict::Wrong);
        }
        let current = Params::try_from(&hash)
            .is_ok_and(|params| (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES));
        match current {
            true => Ok(Verdict::Right),
            false => Ok(Verdict::RightUpgrade(self.hash_blocking(password)?)),
        }
    }

    fn argon2(&self) -> Result<Argon2<'_>, HashError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(HashError::Parameters)?;
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        if self.pepper.is_empty() {
            return Ok(Argon2::new(algorithm, version, params));
        }
        Argon2::new_with_secret(self.pepper.as_bytes(), algorithm, version, params).map_err(HashError::Parameters)
    }
}

/// The same text typed on different keyboards is the same password: NFKC, as Synapse does.
fn normalized(password: &str) -> String {
    password.nfkc().collect()
}
