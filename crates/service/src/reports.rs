//! Reports of users to the server's administrators.

use std::time::Duration;

use plexus_base::{Clock, LimitExceeded};
use plexus_protocol::id::UserId;
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::reports::Report;
use plexus_store::{Database, DbError, EventNid, RoomNid, repo};

/// The most reports of one user in [`PERIOD`]: more than any honest user or bot writes, 16 MiB at most.
const MAX_REPORTS: u64 = 1_000;
const PERIOD: Duration = Duration::from_secs(86_400);
/// How long a user with too many waits at least.
const RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// Why a report was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The user has sent too many.
    #[error(transparent)]
    Limited(#[from] LimitExceeded),
    /// The reason is too long, or the database failed.
    #[error(transparent)]
    Bound(#[from] BoundError),
}

/// Stores reports.
#[derive(Clone)]
pub struct Reports {
    db: Database,
    clock: Clock,
}

impl From<DbError> for ReportError {
    fn from(error: DbError) -> Self {
        Self::Bound(error.into())
    }
}

/// The subject of a report.
#[derive(Debug, Clone)]
pub enum Reported {
    /// A room as a whole.
    Room(RoomNid),
    /// An event, and the room that it is in.
    Event {
        /// The event's room.
        room: RoomNid,
        /// The event.
        event: EventNid,
    },
    /// A user of any server.
    User(UserId),
}

/// A user's report.
#[derive(Debug, Clone)]
pub struct NewReport {
    /// The user who reports.
    pub reporter: UserId,
    /// The subject.
    pub reported: Reported,
    /// The user's own words.
    pub reason: Option<String>,
    /// -100 (most offensive) to 0.
    pub score: Option<i64>,
}

impl Reports {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Stores the report. One about a user that this server does not know is dropped, so that it does not reveal who
    /// is known.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub async fn add(&self, report: NewReport) -> Result<(), ReportError> {
        let received_ts = self.clock.now_ms();
        let reason = report.reason.map(|reason| reason.replace('\0', ""));
        let (room_nid, event_nid, user) = match report.reported {
            Reported::Room(room) => (Some(room), None, None),
            Reported::Event { room, event } => (Some(room), Some(event), None),
            Reported::User(user) => (None, None, Some(user)),
        };
        self.db
            .write(move |tx| {
                if let Some(user) = &user
                    && repo::users::get(tx, user.as_str())?.is_none()
                {
                    return Ok(());
                }
                let since_ts = received_ts.saturating_sub(PERIOD.as_millis() as u64);
                if repo::reports::count_since(tx, report.reporter.as_str(), since_ts)? >= MAX_REPORTS {
                    return Err(LimitExceeded { retry_after: RETRY_AFTER }.into());
                }
                let report = Report {
                    received_ts,
                    reporter: report.reporter.as_str(),
                    room_nid,
                    event_nid,
                    user_id: user.as_ref().map(UserId::as_str),
                    reason: reason.as_deref(),
                    score: report.score,
                };
                Ok(repo::reports::insert(tx, &report)?)
            })
            .await
    }
}
