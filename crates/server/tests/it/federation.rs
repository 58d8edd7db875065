//! The server-server API.

mod asking;
mod discovery;
mod every_endpoint;
mod media;
mod queries;
