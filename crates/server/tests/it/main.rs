//! Whole servers, booted in the process or as the real binary.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod admin;
mod advisories;
mod app_service_delivery;
mod binary;
mod bounds;
mod bridges;
mod cli;
mod client;
mod clients;
mod configuration;
mod coverage;
mod demo;
mod doctor;
mod documents;
mod element_call;
mod every_endpoint;
mod fast_joins;
mod federation;
mod forward_proxy;
mod hostile;
mod kill;
mod lifecycle;
mod listeners;
mod logging;
mod operation;
mod packaging;
mod private;
mod rate_limits;
mod response_schemas;
mod reverse_proxy;
mod snapshots;
mod synapse;
mod synapse_names;
mod terminal;
mod user_command;
