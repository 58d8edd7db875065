//! Errors of writing to rooms.

use plexus_net::PolicyRefusal;
use plexus_protocol::auth::AuthRejection;
use plexus_protocol::event::PduError;
use plexus_protocol::event::build::BuildError;
use plexus_store::{DbError, repo};

use crate::model::partial_state::StatePending;
use crate::write::content::ContentError;
use crate::write::peer_error::PeerError;

/// An event was not sent. Nothing has been stored.
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
    /// Events of this type must not be redacted.
    #[error("Events of this type cannot be redacted")]
    RedactionOfProtected,
    /// The redact level is too low.
    #[error("You do not have permission to redact events of others")]
    RedactionForbidden,
    /// The user has sent the same reaction already.
    #[error("You have already sent this reaction")]
    DuplicateAnnotation,
    /// `m.relates_to` is not valid.
    #[error("{0}")]
    BadRelation(&'static str),
    /// The content is not valid for the type of event.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The content of a member event is not valid.
    #[error("{0}")]
    MemberContent(&'static str),
    /// Member events cannot be sent as other state events.
    #[error("Memberships are changed by joining, leaving, inviting, knocking, kicking and banning")]
    Membership,
    /// An alias of `m.room.canonical_alias` does not point to the room.
    #[error("The alias {0} does not point to this room")]
    AliasNotOfRoom(String),
    /// The server of an alias of `m.room.canonical_alias` could not be asked for its room.
    #[error("It is not known whether the alias {alias} points to this room: {error}")]
    AliasUnresolved {
        /// The alias.
        alias: String,
        /// The error of the request.
        error: Box<PeerError>,
    },
    /// `m.room.canonical_alias` adds too many aliases of other servers.
    #[error("At most {0} aliases of other servers can be added at a time")]
    TooManyAliases(usize),
    /// An alias of `m.room.canonical_alias` is not a room alias.
    #[error("{0:?} is not a room alias")]
    InvalidAlias(String),
    /// Part of the room's state is missing, and has not arrived in time.
    #[error(transparent)]
    StatePending(#[from] StatePending),
    /// Other writers kept changing the room.
    #[error("The room is too busy; try again")]
    Contended,
    /// The room's policy server refused the event, or could not be asked.
    #[error("The room's policy server does not accept the event: {0}")]
    Policy(Box<PeerError>),
    /// A policy hook refuses it.
    #[error(transparent)]
    Refused(#[from] Box<PolicyRefusal>),
    /// Events that it refers to are missing.
    #[error("events that it refers to could not be found")]
    MissingEvents,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// An event was not added to a room's graph. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddError {
    /// Events that it refers to are missing.
    #[error("events that it refers to could not be found")]
    MissingEvents,
    /// Other writers kept changing the room.
    #[error("the room changed too often; try again")]
    Contended,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Events were not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PersistError {
    /// The events that they were built on were not committed, or another process has written to the room: they have to
    /// be built again.
    #[error("the room has changed")]
    Stale,
    /// The transaction id has been used before.
    #[error("the transaction id has been used before")]
    DuplicateTransaction,
    /// The alias of the new room exists.
    #[error("the alias exists")]
    AliasTaken,
    /// The database failed.
    #[error(transparent)]
    Db(DbError),
}

impl From<PolicyRefusal> for SendError {
    fn from(refusal: PolicyRefusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
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
            // The caller knows the transaction id, and looks up its event.
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
    /// Whether the events are at fault, and not the database.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Db(error) => error.is_of_one(),
            Self::Stale | Self::DuplicateTransaction | Self::AliasTaken => true,
        }
    }
}
