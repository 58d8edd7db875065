use crate::schema::{choice, options};

use super::Secret;

options! {
    /// Logging in with a password.
    pub struct PasswordsSection {
        /// Logging in with a password.
        acts password_config: PasswordConfig,
    }
}

options! {
    /// Logging in with a password.
    pub struct PasswordConfig {
        /// Whether users can log in with a password. `only_for_reauth` allows passwords only for user-interactive
        /// authentication.
        acts enabled: PasswordLogin = PasswordLogin::Enabled,
        /// Whether passwords are checked against this server's database.
        acts localdb_enabled: bool = true,
        /// A secret mixed into each password. It can never be changed: all passwords would become invalid.
        acts pepper: Option<Secret>,
        /// Requirements for new passwords.
        acts policy: PasswordPolicy,
    }
}

choice! {
    /// When a password is accepted.
    pub enum PasswordLogin {
        /// For login and user-interactive authentication.
        Enabled = "true",
        /// Never.
        Disabled = "false",
        /// For user-interactive authentication only.
        OnlyForReauth = "only_for_reauth",
    }
}

options! {
    /// Requirements for new passwords.
    pub struct PasswordPolicy {
        /// Whether the other members apply.
        acts enabled: bool = false,
        /// The minimum number of characters.
        acts minimum_length: u32 = 0,
        /// Whether a digit is required.
        acts require_digit: bool = false,
        /// Whether a character that is neither letter nor digit is required.
        acts require_symbol: bool = false,
        /// Whether a lower-case letter is required.
        acts require_lowercase: bool = false,
        /// Whether an upper-case letter is required.
        acts require_uppercase: bool = false,
    }
}
