//! Accounts: access tokens, registration, login, user-interactive authentication and devices. Endpoints call the
//! services here; nothing here knows HTTP or rooms.
//!
//! | service | what it does |
//! |---|---|
//! | [`TokenChecker`] | whose an access token is, from memory |
//! | [`Registrar`], [`SharedSecret`] | new accounts |
//! | [`registration_tokens`] | what lets strangers register |
//! | [`Logins`] | who may log in: passwords, login tokens |
//! | [`Sessions`] | devices with tokens: start, refresh, end |
//! | [`UserInteractiveAuth`] | stages before sensitive requests |
//! | [`Devices`], [`Deactivation`] | what a user manages |
//! | [`Administration`] | what the operator does with other people's accounts |
//!
//! [`Accounts::new`] makes them all of a configuration.

mod administration;
mod build;
mod deactivation;
mod devices;
mod guesses;
mod last_seen;
mod login;
pub mod password;
mod registration;
pub mod registration_tokens;
mod requester;
mod secret;
mod sessions;
pub mod settings;
mod shared_secret;
mod ticket;
mod token_checker;
pub mod uia;
mod username;

pub use administration::{Administration, AdministrationError, PAGE_ACCOUNTS};
pub use build::{Accounts, AccountsParts};
pub use deactivation::Deactivation;
pub use devices::{Devices, RenameError};
pub use last_seen::Seen;
pub use login::{ChangePasswordError, Identifier, LoginError, Logins};
pub use password::{HashError, PasswordHasher, WeakPassword};
pub use registration::{NewAccount, RegisterError, Registered, Registrar, TokenQuestionError};
pub use requester::Requester;
pub use secret::hash as token_hash;
pub use sessions::{NewSession, RefreshError, Session, SessionError, Sessions, Tokens};
pub use settings::Settings;
pub use shared_secret::{SharedSecret, SharedSecretError, SignedRegistration, shared_secret_mac};
pub use token_checker::{TokenCache, TokenChecker, TokenError};
pub use uia::UserInteractiveAuth;
pub use username::UsernameError;
