//! Why something could not be sent.

use plexus_protocol::auth::AuthRejection;
use plexus_protocol::event::PduError;
use plexus_protocol::event::build::BuildError;
use plexus_store::{DbError, repo};

use crate::model::partial_state::StatePending;
use crate::write::content::ContentError;
use crate::write::peer_error::PeerError;

/// Why an event was not sent. Nothing has been stored.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// This server does not know the room.
    #[error("Unknown room")]
    UnknownRoom,
    /// The room does not allow it.
    #[error("{0}")]
    Forbidden(#[from] AuthRejection),
    /// The event is larger than events may be.
    #[error("The event is too large: {0}")]
    TooLarge(BuildError),
    /// The event would not be well formed.
    #[error("{0}")]
    Malformed(BuildError),
    /// `m.room.redaction` without an event to redact.
    #[error("The redaction does not say which event it redacts")]
    RedactsNothing,
    /// The event to be redacted is not known.
    #[error("The event to redact was not found")]
    UnknownRedactionTarget,
    /// Events of this type are not to be redacted.
    #[error("Events of this type cannot be redacted")]
    RedactionOfProtected,
    /// The redact level is too low.
    #[error("You do not have permission to redact events of others")]
    RedactionForbidden,
    /// The user has reacted so already.
    #[error("You have already sent this reaction")]
    DuplicateAnnotation,
    /// `m.relates_to` names what it must not.
    #[error("{0}")]
    BadRelation(&'static str),
    /// The content is not what events of the type have.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A member event says what it must not.
    #[error("{0}")]
    MemberContent(&'static str),
    /// Memberships are not set like other state.
    #[error("Memberships are changed by joining, leaving, inviting, knocking, kicking and banning")]
    Membership,
    /// An alias of `m.room.canonical_alias` does not point to the room.
    #[error("The alias {0} does not point to this room")]
    AliasNotOfRoom(String),
    /// The server of an alias of `m.room.canonical_alias` does not say where it points.
    #[error("It is not known whether the alias {alias} points to this room: {error}")]
    AliasUnresolved {
        /// The alias.
        alias: String,
        /// Why.
        error: Box<PeerError>,
    },
    /// `m.room.canonical_alias` adds more aliases of other servers than are looked up for one event.
    #[error("At most {0} aliases of other servers can be added at a time")]
    TooManyAliases(usize),
    /// An alias of `m.room.canonical_alias` is no alias.
    #[error("{0:?} is not a room alias")]
    InvalidAlias(String),
    /// Part of the room's state is missing, and it takes long to come.
    #[error(transparent)]
    StatePending(#[from] StatePending),
    /// Other writers were faster, again and again.
    #[error("The room is too busy; try again")]
    Contended,
    /// The room's policy server refuses the event, or cannot be asked.
    #[error("The room's policy server does not accept the event: {0}")]
    Policy(Box<PeerError>),
    /// Events that it refers to are missing.
    #[error("events that it refers to could not be found")]
    MissingEvents,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why an event was not added to a room's graph. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddError {
    /// Events that it refers to are missing.
    #[error("events that it refers to could not be found")]
    MissingEvents,
    /// Other writers were faster, again and again.
    #[error("the room changed too often; try again")]
    Contended,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Why events were not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PersistError {
    /// What they were built on was not committed, or somebody else has written to the room: build again.
    #[error("the room has changed")]
    Stale,
    /// The transaction id has been used before.
    #[error("the transaction id has been used before")]
    DuplicateTransaction,
    /// The alias of the new room exists.
    #[error("the alias exists")]
    AliasTaken,
    #[error(transparent)]
    Db(DbError),
}

impl From<BuildError> for SendError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Pdu(PduError::TooLarge(_) | PduError::FieldTooLong(_)) => Self::TooLarge(error),
            other => Self::Malformed(other),
        }
    }
}

impl From<AddError> for SendError {
    fn from(error: AddError) -> Self {
        match error {
            AddError::MissingEvents => Self::MissingEvents,
            AddError::Contended => Self::Contended,
            AddError::Db(error) => Self::Db(error),
        }
    }
}

impl From<PersistError> for SendError {
    fn from(error: PersistError) -> Self {
        match error {
            // A transaction id seen before is looked up where it is known which.
            PersistError::Stale | PersistError::DuplicateTransaction | PersistError::AliasTaken => Self::Contended,
            PersistError::Db(error) => Self::Db(error),
        }
    }
}

impl From<PersistError> for AddError {
    fn from(error: PersistError) -> Self {
        match error {
            PersistError::Db(error) => Self::Db(error),
            PersistError::Stale | PersistError::DuplicateTransaction | PersistError::AliasTaken => Self::Contended,
        }
    }
}

impl From<DbError> for PersistError {
    fn from(error: DbError) -> Self {
        match error {
            error if repo::rooms::is_stale(&error) => Self::Stale,
            error if repo::transactions::is_used(&error) => Self::DuplicateTransaction,
            error if repo::aliases::is_taken(&error) => Self::AliasTaken,
            error => Self::Db(error),
        }
    }
}

impl PersistError {
    /// Whether what was to be written is at fault, and not the database.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Db(error) => error.is_of_one(),
            Self::Stale | Self::DuplicateTransaction | Self::AliasTaken => true,
        }
    }
}
