//! Accounts: access tokens, registration, login, user-interactive authentication and devices. Endpoints call these
//! services, which know neither HTTP nor rooms.
//!
//! | service | what it does |
//! |---|---|
//! | [`TokenChecker`] | finds the user of an access token, in memory, and that of an application service's request |
//! | [`Registrar`], [`SharedSecret`] | register accounts |
//! | [`registration_tokens`] | tokens that let strangers register |
//! | [`Logins`] | check logins: passwords, login tokens |
//! | [`Sessions`] | start, refresh and end sessions: devices with tokens |
//! | [`UserInteractiveAuth`] | authenticates users again before sensitive requests |
//! | [`Devices`], [`Deactivation`] | manage and close a user's own account |
//! | [`Administration`] | changes the accounts of others |
//!
//! [`Accounts::new`] builds them all.

#![warn(missing_docs, unreachable_pub)]

mod administration;
mod app_service_requests;
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
pub use app_service_requests::{ActingAs, ActingError};
pub use build::{Accounts, AccountsParts};
pub use deactivation::Deactivation;
pub use devices::{DehydrationError, DeletedDevices, Devices, NewDehydratedDevice, RenameError};
pub use last_seen::Seen;
pub use login::{ChangePasswordError, Identifier, LoginError, Logins};
pub use password::{HashError, PasswordHasher, WeakPassword};
pub use registration::{NewAccount, RegisterError, Registered, Registrar, TokenQuestionError};
pub use requester::Requester;
pub use secret::hash as token_hash;
pub use sessions::{NewSession, RefreshError, Session, SessionError, Sessions, Tokens};
pub use settings::Settings;
pub use shared_secret::{SharedSecret, SharedSecretError, SignedRegistration, shared_secret_mac};
pub use token_checker::{TokenChecker, TokenError};
pub use uia::UserInteractiveAuth;
pub use username::UsernameError;
