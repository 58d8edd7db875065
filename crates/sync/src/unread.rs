//! Unread counts: how many events after a user's receipts notify the user.
//!
//! Nothing is stored per event: counts are evaluated when a sync asks for them, from where the last evaluation stopped,
//! and kept in memory. Only a long scan leaves a checkpoint behind, so that a restart need not repeat it.

mod badge;
mod evaluate;
mod notified;
mod room;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_base::Background;
use plexus_protocol::id::UserId;
use plexus_rooms::timeline::{Stay, current_stay};
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::repo::receipts::Receipt;
use plexus_store::{Database, DbError, EventNid, Position, RoomNid, repo};
use quick_cache::sync::Cache;

use crate::history;
use crate::settings::{SettingsCache, UserSettings};
pub use evaluate::Outcome;
pub use notified::Notified;
pub use room::{Count, RoomCounts};
use room::{ReadUpTo, RoomUnread};

/// The most users whose counts are in memory.
const USER_CACHE_CAPACITY: usize = 20_000;
/// The most receipts of a user that are kept until somebody looks at the user's counts.
const MAX_INCOMING: usize = 1000;
/// The most shared outcomes in memory: of events that every member of a busy room is about to count.
const OUTCOME_CACHE_CAPACITY: usize = 8_192;
/// Scans at least this long leave a checkpoint.
const LONG_SCAN: u64 = 500;

/// Unread counts of all users. Owned by this process: another evaluates them again, from the last checkpoint.
pub struct UnreadCounts {
    db: Database,
    settings: Arc<SettingsCache>,
    background: Background,
    users: Cache<UserId, Arc<UserUnread>>,
    /// Per event and rule set: what the event means to everybody with these rules; `None` if it differs between them.
    outcomes: Cache<(EventNid, u64), Option<Outcome>>,
}

#[derive(Default)]
struct UserUnread {
    /// Receipts committed since somebody last looked.
    incoming: Mutex<Vec<Arc<Receipt>>>,
    loaded: tokio::sync::Mutex<Option<Loaded>>,
}

#[derive(Default)]
struct Loaded {
    read: HashMap<RoomNid, ReadUpTo>,
    rooms: HashMap<RoomNid, RoomUnread>,
}

impl UnreadCounts {
    /// Creates the service with empty caches.
    #[must_use]
    pub fn new(db: Database, settings: Arc<SettingsCache>, background: Background) -> Self {
        let (users, outcomes) = (Cache::new(USER_CACHE_CAPACITY), Cache::new(OUTCOME_CACHE_CAPACITY));
        Self { db, settings, background, users, outcomes }
    }

    /// Returns the counts of a user in a room, over events at or before `upto` from the user's present stay. `member`
    /// is the position of the user's member event.
    pub async fn counts(
        &self,
        user: &UserId,
        room: &Room,
        member: Position,
        upto: Position,
    ) -> Result<RoomCounts, DbError> {
        let entry = self.entry(user);
        let mut loaded = entry.loaded.lock().await;
        let loaded = self.load(user, &entry, &mut loaded).await?;
        self.counts_in(user, room, loaded, member, upto).await
    }

    async fn counts_in(
        &self,
        user: &UserId,
        room: &Room,
        loaded: &mut Loaded,
        member: Position,
        upto: Position,
    ) -> Result<RoomCounts, DbError> {
        let Loaded { read, rooms } = loaded;
        let nobody = ReadUpTo::default();
        let read = read.get(&room.nid).unwrap_or(&nobody);
        // Before the events are read.
        let redactions = room.redactions();
        let stay = match rooms.get(&room.nid).map(RoomUnread::stay) {
            Some(known) if known.member == member => known,
            // Nothing before the receipt is counted, whenever the stay began.
            _ if read.unthreaded >= member => Stay { member, since: member },
            known => current_stay(room, user, member, known.unwrap_or_default()).await?,
        };
        let start = read.unthreaded.max(stay.since);
        let unread = rooms.entry(room.nid).or_insert_with(|| RoomUnread::starting_after(start, redactions));
        if unread.stay() != stay {
            unread.begin_stay(stay);
        }
        let upto = upto.min(room.view().position);
        if unread.evaluated_to() < upto {
            let scanned = self.scan(user, room, read, unread, upto).await?;
            if scanned >= LONG_SCAN {
                self.checkpoint(user, room.nid, unread);
            }
        }
        if unread.note_redactions(redactions) {
            // Messages that expire are redacted without a redaction.
            self.forget_redacted(room, unread).await?;
        }
        Ok(unread.counts())
    }

    /// Returns the outcome of the push rules of a user for an event.
    pub async fn outcome(&self, user: &UserId, room: &Room, event: &TimelineEvent) -> Result<Outcome, DbError> {
        let settings = self.settings.get(user).await?;
        self.evaluate(user, room, &settings, event).await
    }

    /// Adds a receipt that was committed.
    pub(crate) fn receipt(&self, receipt: &Arc<Receipt>) {
        let Some(entry) = self.users.get(&receipt.user) else { return };
        let mut incoming = entry.incoming.lock();
        incoming.push(Arc::clone(receipt));
        if incoming.len() > MAX_INCOMING {
            // Nobody looks at the counts; whoever does reads the receipts from the database again.
            drop(incoming);
            self.users.remove(&receipt.user);
        }
    }

    /// Drops all counts, because receipts may have been missed: they are evaluated again, from the last checkpoints.
    pub(crate) fn forget(&self) {
        self.users.clear();
    }

    /// Returns the user's entry, which is in the cache before anything is read, so that no receipt is missed meanwhile.
    fn entry(&self, user: &UserId) -> Arc<UserUnread> {
        match self.users.get_value_or_guard(user, None) {
            quick_cache::sync::GuardResult::Value(entry) => entry,
            quick_cache::sync::GuardResult::Guard(guard) => {
                let entry = Arc::<UserUnread>::default();
                // Refused only when the cache holds no entries at all; then the entry serves this one request.
                let _ = guard.insert(Arc::clone(&entry));
                entry
            }
            quick_cache::sync::GuardResult::Timeout => Arc::default(),
        }
    }

    async fn load<'l>(
        &self,
        user: &UserId,
        entry: &UserUnread,
        loaded: &'l mut Option<Loaded>,
    ) -> Result<&'l mut Loaded, DbError> {
        if loaded.is_none() {
            let key = user.to_string();
            let (receipts, checkpoints) = self
                .db
                .read(move |tx| {
                    Ok::<_, DbError>((repo::receipts::of_user(tx, &key)?, repo::unread::of_user(tx, &key)?))
                })
                .await?;
            let mut fresh = Loaded::default();
            for (room, evaluated_to, counts) in checkpoints {
                // A checkpoint of a form that is no longer read is only a lost shortcut.
                if let Some(unread) = RoomUnread::from_checkpoint(evaluated_to, &counts) {
                    fresh.rooms.insert(room, unread);
                }
            }
            receipts.iter().for_each(|receipt| fresh.receipt(receipt));
            *loaded = Some(fresh);
        }
        let loaded = loaded.get_or_insert_with(Loaded::default);
        let incoming = std::mem::take(&mut *entry.incoming.lock());
        incoming.iter().for_each(|receipt| loaded.receipt(receipt));
        Ok(loaded)
    }

    /// Evaluates the events that came after the last evaluation, and returns how many there were.
    async fn scan(
        &self,
        user: &UserId,
        room: &Room,
        read: &ReadUpTo,
        unread: &mut RoomUnread,
        upto: Position,
    ) -> Result<u64, DbError> {
        let settings = self.settings.get(user).await?;
        let mut scanned = 0;
        while unread.evaluated_to() < upto {
            let chunk = history::oldest(room, unread.evaluated_to(), upto).await?;
            let Some(last) = chunk.last() else { break };
            let reached = last.position;
            for event in &chunk {
                self.count(user, room, &settings, read, unread, event).await?;
            }
            if chunk.iter().any(|event| event.pdu.event_type() == "m.room.redaction") {
                self.forget_redacted(room, unread).await?;
            }
            scanned += chunk.len() as u64;
            unread.advance(reached);
        }
        unread.advance(upto);
        Ok(scanned)
    }

    async fn count(
        &self,
        user: &UserId,
        room: &Room,
        settings: &UserSettings,
        read: &ReadUpTo,
        unread: &mut RoomUnread,
        event: &TimelineEvent,
    ) -> Result<(), DbError> {
        let thread = evaluate::thread_of(&event.pdu);
        if !read.covers(thread, event.position) {
            let outcome = self.evaluate(user, room, settings, event).await?;
            if outcome.notify {
                unread.add(event.position, thread, outcome.highlight);
            }
        }
        Ok(())
    }

    /// Events that have been redacted since they were counted do not notify any more.
    async fn forget_redacted(&self, room: &Room, unread: &mut RoomUnread) -> Result<(), DbError> {
        let (nid, counted) = (room.nid, unread.positions());
        if !counted.is_empty() {
            let redacted = self.db.read(move |tx| repo::events::redacted_at(tx, nid, &counted)).await?;
            unread.forget(&redacted);
        }
        Ok(())
    }

    fn checkpoint(&self, user: &UserId, room: RoomNid, unread: &RoomUnread) {
        let (db, user) = (self.db.clone(), user.to_string());
        let (evaluated_to, counts) = (unread.evaluated_to(), unread.to_checkpoint());
        self.background.spawn("checkpoint of unread counts", async move {
            let written = db.write(move |tx| repo::unread::set(tx, &user, room, evaluated_to, &counts)).await;
            if let Err(error) = written {
                let error: DbError = error;
                tracing::warn!(%error, "cannot store a checkpoint of unread counts");
            }
        });
    }
}

impl Loaded {
    fn receipt(&mut self, receipt: &Receipt) {
        let Some(at) = receipt.event_position else { return };
        self.read.entry(receipt.room).or_default().raise(&receipt.thread_id, at);
        if let Some(unread) = self.rooms.get_mut(&receipt.room)
            && !unread.read(&receipt.thread_id, at)
        {
            // Events before it are only known in sum: they are counted again.
            self.rooms.remove(&receipt.room);
        }
    }
}
