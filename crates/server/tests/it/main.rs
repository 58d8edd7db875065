//! Whole servers, booted in the process or as the real binary.

mod accounts;
mod accounts_hostile;
mod accounts_keys;
mod binary;
mod bounds;
mod cli;
mod clients;
mod coverage;
mod demo;
mod every_endpoint;
mod fast_joins;
mod federation;
mod federation_serve;
mod hostile;
mod http_basics;
mod kill;
mod lifecycle;
mod listeners;
mod media;
mod rate_limits;
mod response_schemas;
mod rooms;
mod synapse;
mod synapse_names;
mod sync;
mod terminal;
