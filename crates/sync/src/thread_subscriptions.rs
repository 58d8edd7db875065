//! Subscriptions to threads (MSC4306), and their changes (MSC4308).

use std::collections::BTreeMap;

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::{Room, Rooms, TimelineEvent};
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::thread_subscriptions::{self as stored, ThreadSubscription};
use plexus_store::{Database, DbError, Position, RoomNid};

/// The most changes of one response, whatever the client asks for.
pub const MAX_CHANGES: u64 = 500;
/// The changes of one response for a client that does not ask for a number.
pub const DEFAULT_CHANGES: u64 = 100;

/// Why a client's automatic subscription was not made.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// The user has unsubscribed after the event for which the client subscribes.
    #[error("Automatic subscription obsoleted by an unsubscription request.")]
    Conflict,
    /// The user has too many subscriptions, or the database failed.
    #[error(transparent)]
    Bound(#[from] BoundError),
}

impl From<DbError> for SubscriptionError {
    fn from(error: DbError) -> Self {
        Self::Bound(error.into())
    }
}

/// Reads and changes the threads that users have subscribed to. `enabled`: whether clients may.
#[derive(Clone)]
pub struct ThreadSubscriptions {
    db: Database,
    enabled: bool,
}

impl ThreadSubscriptions {
    /// Creates the service. `enabled` is `msc4306_enabled`.
    #[must_use]
    pub fn new(db: Database, enabled: bool) -> Self {
        Self { db, enabled }
    }

    /// Whether clients may subscribe to threads.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Returns a user's subscription to a thread.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(&self, user: &UserId, room: RoomNid, root: &str) -> Result<Option<ThreadSubscription>, DbError> {
        let (user, root) = (user.clone(), root.to_owned());
        let found = self.db.read(move |tx| stored::get(tx, &user, room, &root)).await?;
        Ok(found.filter(|row| row.unsubscribed_at.is_none()))
    }

    /// Subscribes a user to a thread. `cause`: the event in it for which a client does so by itself. Such a
    /// subscription never replaces one that the user has made.
    ///
    /// # Errors
    /// See [`SubscriptionError`].
    pub async fn subscribe(
        &self,
        user: &UserId,
        room: &Room,
        root: &str,
        cause: Option<&TimelineEvent>,
    ) -> Result<(), SubscriptionError> {
        let (user, room_nid, root) = (user.clone(), room.nid, root.to_owned());
        let cause = cause.map(|event| event.position);
        let write = self.db.write(move |tx| {
            let automatic = cause.is_some();
            let subscribed_at = match stored::get(tx, &user, room_nid, &root)? {
                Some(ThreadSubscription { unsubscribed_at: Some(at), .. })
                    if cause.is_some_and(|cause| cause <= at) =>
                {
                    return Err(SubscriptionError::Conflict);
                }
                Some(row) if row.unsubscribed_at.is_none() && (automatic || !row.automatic) => return Ok(()),
                // The subscription remains; only who made it changes.
                Some(row) if row.unsubscribed_at.is_none() => row.subscribed_at,
                _ => 0,
            };
            let row =
                ThreadSubscription { room_nid, root, automatic, subscribed_at, unsubscribed_at: None, position: 0 };
            Ok(stored::set(tx, &user, &row)?)
        });
        write.await
    }

    /// Ends a user's subscription to a thread, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsubscribe(&self, user: &UserId, room: &Room, root: &str) -> Result<(), BoundError> {
        let (user, nid, root, now) = (user.clone(), room.nid, root.to_owned(), room.view().position);
        let write = self.db.write(move |tx| match stored::get(tx, &user, nid, &root)? {
            Some(row) if row.unsubscribed_at.is_none() => {
                stored::set(tx, &user, &ThreadSubscription { unsubscribed_at: Some(now), ..row })
            }
            _ => Ok(()),
        });
        write.await
    }

    /// Returns the newest `limit` changes of a user's subscriptions with `after < position <= upto`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changes(
        &self,
        rooms: &Rooms,
        user: &UserId,
        (after, upto): (Position, Position),
        limit: u64,
    ) -> Result<SubscriptionChanges, DbError> {
        read_changes(&self.db, rooms, user, (after, upto), limit).await
    }

    /// Returns the position of the newest change that can be read.
    #[must_use]
    pub fn now(&self) -> Position {
        self.db.committed()
    }
}

/// As [`ThreadSubscriptions::changes`].
pub(crate) async fn read_changes(
    db: &Database,
    rooms: &Rooms,
    user: &UserId,
    (after, upto): (Position, Position),
    limit: u64,
) -> Result<SubscriptionChanges, DbError> {
    let (user, limit) = (user.clone(), limit.clamp(1, MAX_CHANGES));
    let rows = db.read(move |tx| stored::changed(tx, &user, (after, upto), limit)).await?;
    let oldest = rows.last().map(|row| row.position);
    let before = oldest.filter(|_| rows.len() as u64 == limit).map(|oldest| oldest - 1);
    let mut changes = SubscriptionChanges { rooms: BTreeMap::new(), before };
    for row in rows {
        if let Some(room) = rooms.get_readable_nid(row.room_nid).await? {
            changes.rooms.entry(room.id.clone()).or_default().push(row);
        }
    }
    Ok(changes)
}

/// Changes of a user's subscriptions, by room.
#[derive(Debug, Default)]
pub struct SubscriptionChanges {
    rooms: BTreeMap<RoomId, Vec<ThreadSubscription>>,
    /// There may be further changes at or before this.
    pub before: Option<Position>,
}

impl SubscriptionChanges {
    /// Whether there are none, not even further ones.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.before.is_none()
    }

    /// Writes the members `subscribed` and `unsubscribed`.
    pub fn write(&self, out: &mut ObjectWriter<'_>) {
        for (name, subscribed) in [("subscribed", true), ("unsubscribed", false)] {
            let is_listed = |row: &&ThreadSubscription| row.unsubscribed_at.is_none() == subscribed;
            let has_any = |rows: &Vec<ThreadSubscription>| rows.iter().any(|row| is_listed(&row));
            if !self.rooms.values().any(has_any) {
                continue;
            }
            let mut by_room = ObjectWriter::open(out.key(name));
            for (room, rows) in self.rooms.iter().filter(|(_, rows)| has_any(rows)) {
                let mut threads = ObjectWriter::open(by_room.key(room.as_str()));
                for row in rows.iter().filter(is_listed) {
                    let mut thread = ObjectWriter::open(threads.key(&row.root));
                    if subscribed {
                        thread.raw("automatic", if row.automatic { "true" } else { "false" });
                    }
                    thread.number("bump_stamp", row.position);
                    thread.close();
                }
                threads.close();
            }
            by_room.close();
        }
    }
}
