//! The server-server API.

mod asking;
mod away;
mod delivery;
mod discovery;
mod edus;
mod every_endpoint;
mod media;
mod queries;
