//! Whole servers, booted in the process or as the real binary.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod accounts;
mod accounts_hostile;
mod accounts_keys;
mod advisories;
mod binary;
mod bounds;
mod cli;
mod clients;
mod configuration;
mod coverage;
mod demo;
mod every_endpoint;
mod fast_joins;
mod federation;
mod federation_serve;
mod forward_proxy;
mod hostile;
mod http_basics;
mod kill;
mod lifecycle;
mod listeners;
mod logging;
mod login_page;
mod media;
mod operation;
mod private;
mod rate_limits;
mod response_schemas;
mod reverse_proxy;
mod rooms;
mod synapse;
mod synapse_names;
mod sync;
mod terminal;
mod user_command;
