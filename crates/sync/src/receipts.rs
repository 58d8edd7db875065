//! Read receipts and read markers.

mod log;

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::Clock;
use plexus_protocol::event::client::basic_event_json;
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::Room;
pub use plexus_rooms::relations::MAIN_THREAD;
use plexus_store::repo::account_data::Scope;
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::receipts::Receipt;
use plexus_store::{Change, CommitListener, Database, DbError, Position, RoomNid, Tx, event_key, repo};

use crate::unread::UnreadCounts;
use log::ReceiptLog;

/// The kinds of receipt that are stored as receipts; `m.fully_read` is account data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptType {
    /// `m.read`
    Read,
    /// `m.read.private`: visible only to its owner.
    ReadPrivate,
}

impl ReceiptType {
    /// Returns the name in paths and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "m.read",
            Self::ReadPrivate => Receipt::PRIVATE,
        }
    }
}

/// A receipt a user sends.
#[derive(Debug, Clone)]
pub struct NewReceipt {
    /// The user who has read the event.
    pub user: UserId,
    /// Who may see it.
    pub kind: ReceiptType,
    /// The event up to which the user has read.
    pub event_id: EventId,
    /// `None`: unthreaded; otherwise what [`is_thread_id`] accepts.
    pub thread: Option<String>,
}

/// Whether this is `main` or could be a thread's root.
#[must_use]
pub fn is_thread_id(thread: &str) -> bool {
    thread == MAIN_THREAD || EventId::try_from(thread).is_ok()
}

/// Records receipts and reads those of a room.
pub struct Receipts {
    db: Database,
    clock: Clock,
    memory: Arc<ReceiptMemory>,
}

/// What is kept of receipts. Owned by this process: it follows the commits.
struct ReceiptMemory {
    log: ReceiptLog,
    unread: Arc<UnreadCounts>,
}

impl CommitListener for ReceiptMemory {
    fn apply(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Receipt(receipt) => {
                    self.unread.receipt(receipt);
                    self.log.push(receipt);
                }
                Change::Missed { position } => {
                    self.unread.forget();
                    self.log.restart(*position);
                }
                _ => {}
            }
        }
    }
}

impl Receipts {
    /// Creates the service. It has the receipts after `db.committed()` in memory; earlier ones are read from the
    /// database.
    #[must_use]
    pub fn new(db: Database, clock: Clock, unread: Arc<UnreadCounts>) -> Self {
        let memory = Arc::new(ReceiptMemory { log: ReceiptLog::new(db.committed()), unread });
        db.add_listener(&memory);
        Self { db, clock, memory }
    }

    /// Records a receipt; one that is older than the user's last of its kind changes nothing.
    pub async fn record(&self, room: &Room, new: NewReceipt) -> Result<(), BoundError> {
        self.record_at(room, new, self.clock.now_ms()).await
    }

    /// As [`Self::record`], of a user who read the event at `ts` (Unix ms).
    pub async fn record_at(&self, room: &Room, new: NewReceipt, ts: u64) -> Result<(), BoundError> {
        let receipt = Receipt {
            room: room.nid,
            user: new.user,
            receipt_type: new.kind.as_str().to_owned(),
            thread_id: new.thread.unwrap_or_default(),
            event_id: new.event_id.to_string(),
            event_position: None,
            ts,
            position: 0,
        };
        let known = position_in_memory(room, &new.event_id);
        self.db
            .write(move |tx| {
                let event_position = match known {
                    Some(position) => Some(position),
                    None => timeline_position(tx, receipt.room, &new.event_id)?,
                };
                repo::receipts::set(tx, Receipt { event_position, ..receipt })?;
                Ok(())
            })
            .await
    }

    /// Moves a user's read marker (`m.fully_read`), never backwards.
    pub async fn set_fully_read(&self, room: &Room, user: &UserId, event_id: &EventId) -> Result<(), DbError> {
        let known = position_in_memory(room, event_id);
        let (nid, room_id) = (room.nid, room.id.clone());
        let (user, event_id) = (user.clone(), event_id.clone());
        self.db
            .write(move |tx| {
                let new = match known {
                    Some(position) => Some(position),
                    None => timeline_position(tx, nid, &event_id)?,
                };
                let old = match repo::account_data::get(tx, user.as_str(), room_id.as_str(), "m.fully_read")? {
                    Some(content) => match marked_event(&content) {
                        Some(marked) => timeline_position(tx, nid, &marked)?,
                        None => None,
                    },
                    None => None,
                };
                if old.is_some_and(|old| new.is_none_or(|new| new <= old)) {
                    return Ok(());
                }
                let mut content = String::new();
                let mut members = ObjectWriter::open(&mut content);
                members.string("event_id", event_id.as_str());
                members.close();
                let scope = Scope { room_id: room_id.as_str(), room: Some(nid) };
                repo::account_data::set(tx, &user, scope, "m.fully_read", &content)?;
                Ok::<_, DbError>(())
            })
            .await
    }

    /// Returns the receipts of a room after `since` and at or before `upto`, when memory has them all.
    pub fn in_memory(&self, room: RoomNid, since: Position, upto: Position) -> Option<Vec<Arc<Receipt>>> {
        self.memory.log.range(room, since, upto)
    }
}

fn position_in_memory(room: &Room, event_id: &EventId) -> Option<Position> {
    let view = room.view();
    view.recent.iter().rev().find(|event| event.pdu.event_id() == event_id).map(|event| event.position)
}

fn timeline_position(tx: &mut Tx<'_>, room: RoomNid, event_id: &EventId) -> Result<Option<Position>, DbError> {
    let place = repo::events::find(tx, &event_key::encode(event_id))?;
    Ok(place.filter(|place| place.room_nid == room).and_then(|place| place.position))
}

fn marked_event(content: &str) -> Option<EventId> {
    let content: serde_json::Value = serde_json::from_str(content).ok()?;
    content.get("event_id")?.as_str()?.try_into().ok()
}

/// Returns the `m.receipt` event of a room; `None` without receipts.
pub fn event<'r>(receipts: impl IntoIterator<Item = &'r Receipt>) -> Option<String> {
    type Users<'r> = BTreeMap<&'r str, &'r Receipt>;
    let mut events: BTreeMap<&str, BTreeMap<&str, Users<'_>>> = BTreeMap::new();
    for receipt in receipts {
        let users = events.entry(&receipt.event_id).or_default().entry(&receipt.receipt_type).or_default();
        // An event can carry one receipt of each user: the unthreaded one says more.
        let known = users.entry(receipt.user.as_str()).or_insert(receipt);
        if receipt.thread_id.is_empty() {
            *known = receipt;
        }
    }
    if events.is_empty() {
        return None;
    }
    let mut content = String::new();
    let mut by_event = ObjectWriter::open(&mut content);
    for (event_id, types) in &events {
        let mut by_type = ObjectWriter::open(by_event.key(event_id));
        for (receipt_type, users) in types {
            let mut by_user = ObjectWriter::open(by_type.key(receipt_type));
            for (user, receipt) in users {
                let mut data = ObjectWriter::open(by_user.key(user));
                if !receipt.thread_id.is_empty() {
                    data.string("thread_id", &receipt.thread_id);
                }
                data.number("ts", receipt.ts);
                data.close();
            }
            by_user.close();
        }
        by_type.close();
    }
    by_event.close();
    Some(basic_event_json("m.receipt", &content))
}

#[cfg(test)]
mod tests;
