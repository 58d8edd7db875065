//! The server-server API: thin endpoints, one per file; a file's path is ruma's module path, so that
//! `PUT /_matrix/federation/v1/send/{txn_id}` is found in `transactions/send_transaction_message.rs`.
//!
//! [`routes`] lists every route; [`services`] the services that endpoints may use.

#![warn(missing_docs, unreachable_pub)]

mod authenticated_media;
mod authorization;
mod backfill;
mod device;
mod directory;
mod discovery;
mod event;
mod keys;
mod membership;
mod openid;
mod policy;
mod query;
mod responses;
mod room;
pub mod routes;
pub mod services;
mod space;
mod thirdparty;
mod transactions;

pub use discovery::own_keys::OwnKeys;
pub use routes::router;
pub use services::{Api, Services};
pub use thirdparty::bind_callback::BroughtInvites;
