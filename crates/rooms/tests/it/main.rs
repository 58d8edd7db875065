//! The room engine over both databases.

mod fixture;
mod membership;
mod redaction;
mod reload;
mod relations;
mod sending;
mod snapshots;
mod visibility;
