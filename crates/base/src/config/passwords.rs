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
        /// Whether users can log in with a password. `only_for_reauth` allows it only to confirm what they do.
        acts enabled: PasswordLogin = PasswordLogin::Enabled,
        /// Whether passwords are checked against this server's database.
        acts localdb_enabled: bool = true,
        /// A secret mixed into each password. It can never be changed: no password would be right any more.
        acts pepper: Option<Secret>,
        /// What a new password must look like.
        acts policy: PasswordPolicy,
    }
}

choice! {
    /// When a password is accepted.
    pub enum PasswordLogin {
        /// To log in, and to confirm.
        Enabled = "true",
        /// Never.
        Disabled = "false",
        /// To confirm what a user does while logged in.
        OnlyForReauth = "only_for_reauth",
    }
}

options! {
    /// What a new password must look like.
    pub struct PasswordPolicy {
        /// Whether the rest of this object counts.
        acts enabled: bool = false,
        /// The least number of characters.
        acts minimum_length: u32 = 0,
        /// Whether it needs a digit.
        acts require_digit: bool = false,
        /// Whether it needs something that is neither letter nor digit.
        acts require_symbol: bool = false,
        /// Whether it needs a small letter.
        acts require_lowercase: bool = false,
        /// Whether it needs a capital letter.
        acts require_uppercase: bool = false,
    }
}
