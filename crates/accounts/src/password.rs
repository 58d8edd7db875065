//! Password hashes: argon2id for new ones, bcrypt accepted.

mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::{Algorithm, Argon2, Params, Version};
use argon2::{PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use plexus_base::Random;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization as _;

pub(crate) use policy::MAX_PASSWORD_BYTES;
pub use policy::{Policy, WeakPassword};

/// Memory (KiB), passes and parallelism of a hash, as OWASP recommends for argon2id. With one hash per core at a time,
/// any number of simultaneous logins takes 19 MiB per core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const PARALLELISM: u32 = 1;

/// The largest bcrypt cost that wrong passwords of other accounts are made to take, about a second.
const MAX_PADDED_BCRYPT_COST: u32 = 14;

/// Why a password could not be hashed or checked. A wrong password is not an error here.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// argon2 failed.
    #[error("argon2: {0}")]
    Argon2(argon2::password_hash::Error),
    /// argon2 refused its parameters.
    #[error("argon2 parameters: {0}")]
    Parameters(argon2::Error),
    /// The task that hashed ended without a result.
    #[error("the hashing task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Closed(#[from] tokio::sync::AcquireError),
}

/// The result of checking a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The password is wrong.
    Wrong,
    /// The stored hash has an unknown format, so that no password is right.
    UnknownFormat,
    /// The password is right.
    Right,
    /// The password is right, and the stored hash should be replaced by this one.
    RightUpgrade(String),
}

/// How much a hasher has computed since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Argon2 hashes.
    pub argon2: u64,
    /// Rounds of bcrypt: 2 to the power of its cost for each hash.
    pub bcrypt_rounds: u64,
}

#[derive(Debug, Default)]
struct Counters {
    argon2: AtomicU64,
    bcrypt_rounds: AtomicU64,
}

/// Hashes and checks passwords on the blocking pool, as many at a time as there are cores.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    pepper: Arc<str>,
    random: Random,
    running: Arc<Semaphore>,
    done: Arc<Counters>,
}

impl PasswordHasher {
    /// Creates a hasher. `pepper` is `password_config.pepper`: a secret mixed into every hash, empty for none.
    #[must_use]
    pub fn new(pepper: &str, random: Random) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { pepper: pepper.into(), random, running: Arc::new(Semaphore::new(cores)), done: Arc::default() }
    }

    /// Returns the hash to store, a PHC string.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        let (this, password) = (self.clone(), password.to_owned());
        self.blocking(move || this.hash_blocking(&password)).await
    }

    /// Checks a password against the stored hash of an account, if there is one.
    ///
    /// A wrong password takes one argon2 hash and the work of one bcrypt hash of cost `bcrypt_cost`, whatever is
    /// stored, so that the time does not tell which accounts exist, have a password, or were imported. `bcrypt_cost` is
    /// the largest among the accounts; `None` where no account has a bcrypt hash.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn verify(
        &self,
        password: &str,
        stored: Option<&str>,
        bcrypt_cost: Option<u32>,
    ) -> Result<Verdict, HashError> {
        let (this, password, stored) = (self.clone(), password.to_owned(), stored.map(str::to_owned));
        self.blocking(move || this.verify_blocking(&password, stored.as_deref(), bcrypt_cost)).await
    }

    /// Returns how much was computed since the start.
    #[must_use]
    pub fn work(&self) -> Work {
        Work {
            argon2: self.done.argon2.load(Ordering::Relaxed),
            bcrypt_rounds: self.done.bcrypt_rounds.load(Ordering::Relaxed),
        }
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
        self.done.argon2.fetch_add(1, Ordering::Relaxed);
        let hash: PasswordHash = self
            .argon2()?
            .hash_password_with_salt(normalized(password).as_bytes(), &salt)
            .map_err(HashError::Argon2)?;
        Ok(hash.to_string())
    }

    fn verify_blocking(
        &self,
        password: &str,
        stored: Option<&str>,
        bcrypt_cost: Option<u32>,
    ) -> Result<Verdict, HashError> {
        if let Some(hash) =
            stored.filter(|stored| stored.starts_with("$argon2")).and_then(|it| PasswordHash::new(it).ok())
        {
            let verdict = self.verify_argon2(password, &hash)?;
            if verdict == Verdict::Wrong {
                self.take_bcrypt_time(None, bcrypt_cost);
            }
            return Ok(verdict);
        }
        let verified = stored
            .and_then(|stored| Some((stored, bcrypt_cost_of(stored)?)))
            .and_then(|(stored, cost)| self.verify_bcrypt(password, stored, cost));
        let cost = match verified {
            Some((true, _)) => return Ok(Verdict::RightUpgrade(self.hash_blocking(password)?)),
            Some((false, cost)) => Some(cost),
            None => None,
        };
        let unknown_format = stored.is_some() && cost.is_none();
        self.hash_blocking(password)?;
        self.take_bcrypt_time(cost, bcrypt_cost);
        Ok(if unknown_format { Verdict::UnknownFormat } else { Verdict::Wrong })
    }

    /// Whether the password is right, and the cost of finding out. `None`: this is not a bcrypt hash.
    fn verify_bcrypt(&self, password: &str, stored: &str, cost: u32) -> Option<(bool, u32)> {
        let peppered = format!("{}{}", normalized(password), self.pepper);
        // Nobody has a password with NUL: bcrypt ends it there or refuses it.
        let possible = !peppered.contains('\0');
        // Longer input is cut at 72 bytes, as the bcrypt that made these hashes did.
        let matches = bcrypt::verify(if possible { &peppered } else { "" }, stored).ok()?;
        self.done.bcrypt_rounds.fetch_add(1 << cost, Ordering::Relaxed);
        Some((matches && possible, cost))
    }

    /// Does the work by which a bcrypt hash of cost `wanted` exceeds one of cost `done`: hashes of the costs from
    /// `done` on have 2^done + ... + 2^(wanted - 1) rounds together, which is 2^wanted - 2^done.
    fn take_bcrypt_time(&self, done: Option<u32>, wanted: Option<u32>) {
        let Some(wanted) = wanted.map(|cost| cost.min(MAX_PADDED_BCRYPT_COST)) else { return };
        let costs = match done {
            Some(done) => done..wanted,
            None => wanted..wanted + 1,
        };
        for cost in costs {
            match bcrypt::hash_with_salt("", cost, [0; 16]) {
                Ok(_) => self.done.bcrypt_rounds.fetch_add(1 << cost, Ordering::Relaxed),
                Err(error) => return tracing::error!(%error, "bcrypt refuses its own cost"),
            };
        }
    }

    fn verify_argon2(&self, password: &str, hash: &PasswordHash) -> Result<Verdict, HashError> {
        let argon2 = self.argon2()?;
        self.done.argon2.fetch_add(1, Ordering::Relaxed);
        if argon2.verify_password(normalized(password).as_bytes(), hash).is_err() {
            return Ok(Verdict::Wrong);
        }
        let current = Params::try_from(hash).is_ok_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, PARALLELISM)
        });
        if current { Ok(Verdict::Right) } else { Ok(Verdict::RightUpgrade(self.hash_blocking(password)?)) }
    }

    fn argon2(&self) -> Result<Argon2<'_>, HashError> {
        let params = Params::new(MEMORY_KIB, PASSES, PARALLELISM, None).map_err(HashError::Parameters)?;
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        if self.pepper.is_empty() {
            return Ok(Argon2::new(algorithm, version, params));
        }
        Argon2::new_with_secret(self.pepper.as_bytes(), algorithm, version, params).map_err(HashError::Parameters)
    }
}

/// Returns the cost in a bcrypt hash, `$2b$12$...`; `None` for anything else.
fn bcrypt_cost_of(stored: &str) -> Option<u32> {
    let cost = stored.strip_prefix("$2")?.split('$').nth(1)?.parse().ok()?;
    (4..=31).contains(&cost).then_some(cost)
}

/// The same text typed on different keyboards is the same password: NFKC, as Synapse does.
fn normalized(password: &str) -> String {
    password.nfkc().collect()
}
