//! The room engine over both databases.

mod acl;
mod directory;
mod fixture;
mod guests;
mod membership;
mod redaction;
mod relations;
mod reload;
mod sending;
mod simulation;
mod snapshots;
mod times;
mod visibility;
