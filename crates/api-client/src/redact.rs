//! Redactions.

pub mod redact_event;
