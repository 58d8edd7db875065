/// `password_config.policy`: what a new password must be like.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are named as their options")]
pub struct Policy {
    pub enabled: bool,
    /// Characters; 0 for no minimum.
    pub minimum_length: u64,
    pub require_digit: bool,
    pub require_symbol: bool,
    pub require_lowercase: bool,
    pub require_uppercase: bool,
}

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// `M_PASSWORD_TOO_SHORT`
    #[error("The password must be at least {minimum} characters long")]
    TooShort {
        /// The least number of characters.
        minimum: u64,
    },
    /// `M_PASSWORD_NO_DIGIT`
    #[error("The password must include at least one digit")]
    NoDigit,
    /// `M_PASSWORD_NO_SYMBOL`
    #[error("The password must include at least one symbol")]
    NoSymbol,
    /// `M_PASSWORD_NO_LOWERCASE`
    #[error("The password must include at least one lowercase letter")]
    NoLowercase,
    /// `M_PASSWORD_NO_UPPERCASE`
    #[error("The password must include at least one uppercase letter")]
    NoUppercase,
    /// `M_INVALID_PARAM`, whatever the policy.
    #[error("The password must not be empty or longer than 512 bytes")]
    Unusable,
}

/// Longest password in bytes.
pub(crate) const MAX_PASSWORD_BYTES: usize = 512;

impl Policy {
    /// Checks a new password.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn check(&self, password: &str) -> Result<(), WeakPassword> {
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return Err(WeakPassword::Unusable);
        }
        if !self.enabled {
            return Ok(());
        }
        let has = |wanted: fn(char) -> bool| password.chars().any(wanted);
        if (password.chars().count() as u64) < self.minimum_length {
            return Err(WeakPassword::TooShort { minimum: self.minimum_length });
        }
        if self.require_digit && !has(|c| c.is_ascii_digit()) {
            return Err(WeakPassword::NoDigit);
        }
        if self.require_symbol && !has(|c| !c.is_alphanumeric()) {
            return Err(WeakPassword::NoSymbol);
        }
        if self.require_uppercase && !has(char::is_uppercase) {
            return Err(WeakPassword::NoUppercase);
        }
        if self.require_lowercase && !has(char::is_lowercase) {
            return Err(WeakPassword::NoLowercase);
        }
        Ok(())
    }
}
