//! The database: transactions, positions, migrations and one repository per subject. The only SQL.
//!
//! [`Database::read`] and [`Database::write`] run closures over a [`Tx`] on database threads, for SQLite and PostgreSQL
//! alike; one SQL text with `$1` placeholders serves both. `column = ANY($1)` takes a list ([`Any`]). The functions in
//! [`repo`] contain the statements, one file per subject.
//!
//! - [`db`]: the two backends, group commit, positions
//! - [`change`]: what a commit announces to listeners; [`follow`](fn@follow): what another process has committed
//! - [`migrate`]: the schema
//! - [`maintenance`]: `plexus db check` and `plexus db stats`
//! - [`event_key`], [`pdu_json`]: the stored forms of event ids and events
//! - [`full_text`], [`words`]: messages, and names, as searchable words
//! - [`repo`]: the repositories

#![warn(missing_docs, unreachable_pub)]

pub mod change;
pub mod db;
pub mod event_key;
mod follow;
pub mod full_text;
pub mod maintenance;
pub mod pdu_json;
pub mod repo;
pub mod varint;
pub mod words;

pub use change::{Change, CommitListener, HandedOver, StickyEvent};
pub use db::migrate;
pub use db::{
    Any, Backend, Blame, Database, DbError, FromSql, Later, OpenError, Options, Param, Row, ToSql, Tx, first, readable,
    readable_json,
};
pub use follow::follow;

/// A number of the server's single sequence of durable changes: the order of commits. Starts at 1; 0 precedes
/// everything.
pub type Position = i64;
/// A room's number inside the database.
pub type RoomNid = i64;
/// An event's number inside the database.
pub type EventNid = i64;
/// A user's number inside the database.
pub type UserNid = i64;
/// An event type's number inside the database.
pub type TypeNid = i64;
/// A state key's number inside the database.
pub type StateKeyNid = i64;
/// A state snapshot's number inside the database; 0 is the empty state.
pub type SnapshotNid = i64;
