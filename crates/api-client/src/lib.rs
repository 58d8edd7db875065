//! The client-server API: thin endpoints, one per file; a file's path is ruma's module path, so that
//! `PUT /rooms/{room_id}/send/...` is found in `message/send_message_event.rs`.
//!
//! [`routes`](mod@routes) lists every route; [`services`] the services that endpoints may use.

#![warn(missing_docs, unreachable_pub)]

mod access;
mod account;
mod admin;
mod alias;
mod appservice;
mod authenticated_media;
mod backup;
mod config;
mod context;
mod dehydrated_device;
mod delayed_events;
mod device;
mod directory;
mod discovery;
mod favicon;
mod filter;
mod issued_tokens;
mod keys;
mod knock;
mod media;
mod membership;
mod message;
mod paging_token;
mod peeking;
mod presence;
mod profile;
mod push;
mod rate_limited;
mod read_marker;
mod receipt;
mod redact;
mod relations;
mod rendezvous;
mod reporting;
mod room;
pub mod routes;
mod rtc;
mod search;
mod sending;
pub mod services;
mod session;
mod space;
mod state;
mod sync;
mod tag;
mod thirdparty;
mod threads;
mod to_device;
mod typing;
mod uiaa;
mod user_directory;
mod voip;
mod welcome;

pub use routes::routes;
pub use services::{Api, Services};
