//! Synapse's admin API under /_synapse/admin: thin endpoints, one per file.
//!
//! [`routes`] lists every route; [`services`] the services that endpoints may use.

#![warn(missing_docs, unreachable_pub)]

mod register;
mod registration_tokens;
mod room_block;
mod routes;
mod scheduled_tasks;
mod send_server_notice;
mod server_version;
pub mod services;

pub use routes::routes;
pub use services::{Api, Services};
