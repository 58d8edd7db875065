//! The client-server API: thin endpoints, one per file; a file's path is ruma's module path, so that
//! `PUT /rooms/{room_id}/send/...` is found in `message/send_message_event.rs`.
//!
//! [`routes`] lists every route; [`services`] what endpoints may ask for.

mod authenticated_media;
mod discovery;
mod media;
pub mod rate_limits;
pub mod routes;
pub mod services;

pub use routes::routes;
pub use services::{Api, Services};
