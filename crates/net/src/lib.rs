//! The only outgoing sockets of the program, but for the database's.
//!
//! - [`http`]: all outgoing HTTP, and what decides about it
//! - [`federation`]: requests to other servers, signed, and the keys that theirs are signed with
//! - [`app_services`]: requests to application services
//! - [`dns`]: names into addresses
//! - [`policy_hooks`]: servers that are asked what users may do
//! - [`push_gateway`]: notifications to push gateways
//! - [`smtp`]: mail, to the mail server
//! - [`turn`]: whether TURN servers can be reached
//! - [`percent_encode`], [`percent_decode`]: texts in URLs

#![warn(missing_docs, unreachable_pub)]

pub mod app_services;
pub mod dns;
pub mod federation;
pub mod http;
mod percent;
pub mod policy_hooks;
pub mod push_gateway;
pub mod smtp;
pub mod turn;

pub use app_services::{AppServiceClient, AppServiceError, AppServiceRequest};
pub use federation::{
    Call, CameBack, FederationClient, FederationError, Gates, KeyRing, NotSigned, Pass, Patience, StreamedResponse,
    TooManySearches, WantedKey,
};
pub use http::{
    AddressGuard, AddressGuards, HttpClient, HttpError, HttpSettings, Limits, Purpose, TlsSettings, TlsSetupError,
};
pub use percent::{percent_decode, percent_encode};
pub use policy_hooks::{PolicyHooks, PolicyRefusal};
