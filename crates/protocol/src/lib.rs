//! The Matrix protocol as pure functions of their arguments: no IO, no clock, no randomness, no async, no logging.
//!
//! - [`id`]: users, rooms, aliases, events, servers
//! - [`rules`]: room versions 1 to 12, each a difference from the last
//! - [`json`]: JSON as Matrix signs it
//! - [`power_levels`]: who may do what
//! - [`auth`]: the authorization rules
//! - [`state_res`]: one room state from several
//! - [`push_rules`]: what users are notified of
//! - [`visibility`]: who may see an event
//! - [`event`]: PDUs: parse, build, hash, redact, sign, verify, client formats
//! - [`x_matrix`]: signed requests between servers
//! - [`acl`], [`glob`]: server ACLs, and the patterns they are made of

pub mod acl;
pub mod auth;
pub mod event;
pub mod glob;
pub mod id;
pub mod json;
pub mod power_levels;
pub mod push_rules;
pub mod rules;
pub mod state_res;
pub mod visibility;
pub mod x_matrix;
