//! The server-server API.

mod discovery;
mod every_endpoint;
