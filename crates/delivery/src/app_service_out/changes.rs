//! Collects the changes that application services may have to get. Without application services it collects nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use plexus_base::AppServices;
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::repo::app_service_out::LogRow;
use plexus_store::{Change, CommitListener, Position, RoomNid};
use plexus_sync::notifier::EphemeralListener;
use tokio::sync::Notify;

/// The most entries of the log that are kept until they are taken; then the log is read from the database.
const MAX_LOG: usize = 16_384;
/// The most typing notifications, receipts, presences and changes of keys that are kept until they are taken; more are
/// dropped.
const MAX_EPHEMERAL: usize = 16_384;

/// Collects changes. Owned by the process that delivers: it follows the commits and, for what is not in the log, the
/// notifier.
pub(super) struct ServiceChanges {
    server_name: ServerName,
    app_services: Arc<AppServices>,
    log: Mutex<Log>,
    /// Nothing was collected up to here.
    ignored: AtomicI64,
    /// Whether entries of the log were collected of a commit that is not published yet.
    has_log: AtomicBool,
    /// The same of other changes.
    has_other: AtomicBool,
    other: Mutex<OtherChanges>,
    /// Notified when the log has more.
    log_grew: Notify,
    /// Notified when there are other changes.
    other_arrived: Notify,
}

/// The newest entries of the log.
struct Log {
    /// All entries after this are here.
    after: Position,
    rows: BTreeMap<Position, LogRow>,
}

/// Changes that are not in the log, since they were taken last.
#[derive(Default)]
pub(super) struct OtherChanges {
    /// Rooms in which somebody began or stopped typing.
    pub(super) typing: BTreeSet<RoomNid>,
    pub(super) receipts: Vec<(RoomNid, Position)>,
    /// Users whose presence changed.
    pub(super) presence: BTreeSet<UserId>,
    /// Users of this server whose one-time keys or fallback keys changed.
    pub(super) keys: BTreeSet<UserId>,
}

impl ServiceChanges {
    /// Collects what is committed after `committed`.
    pub(super) fn new(server_name: ServerName, app_services: Arc<AppServices>, committed: Position) -> Self {
        Self {
            server_name,
            app_services,
            log: Mutex::new(Log { after: committed, rows: BTreeMap::new() }),
            ignored: AtomicI64::new(committed),
            has_log: AtomicBool::new(false),
            has_other: AtomicBool::new(false),
            other: Mutex::default(),
            log_grew: Notify::new(),
            other_arrived: Notify::new(),
        }
    }

    /// Waits until the log has something for services.
    pub(super) async fn log_has_more(&self) {
        self.log_grew.notified().await;
    }

    /// Waits for changes that are not in the log, and takes them out.
    pub(super) async fn take_other(&self) -> OtherChanges {
        self.other_arrived.notified().await;
        std::mem::take(&mut *self.other.lock())
    }

    /// Returns the oldest `limit` entries of the log with `after < position <= upto`, and forgets those before; `None`
    /// if some may be missing.
    pub(super) fn log(&self, after: Position, upto: Position, limit: usize) -> Option<Vec<(Position, LogRow)>> {
        let mut log = self.log.lock();
        if after < log.after || after < self.ignored.load(Ordering::Acquire) {
            return None;
        }
        log.rows = log.rows.split_off(&(after + 1));
        log.after = after;
        Some(log.rows.range(..=upto).take(limit).map(|(position, row)| (*position, row.clone())).collect())
    }

    fn collect(&self, changes: &[Change]) {
        let mut log = self.log.lock();
        for change in changes {
            let position = change.position();
            match change {
                Change::Event { room, .. } => _ = log.rows.insert(position, LogRow::Event { room: *room }),
                // Its event comes beside it, unless this server is not in the room.
                Change::Membership { user, membership, .. } if user.server_name() == self.server_name.as_str() => {
                    let row = LogRow::Membership { room: membership.room, event: membership.event_nid };
                    log.rows.entry(position).or_insert(row);
                }
                Change::ToDevice { user, device, .. } => {
                    let row = LogRow::ToDevice { user: user.to_string(), device: device.clone() };
                    log.rows.insert(position, row);
                }
                Change::DeviceList { user, private: false, .. } => {
                    log.rows.insert(position, LogRow::DeviceList { user: user.to_string() });
                }
                Change::Receipt(_) | Change::OneTimeKeys { .. } => {
                    self.collect_other(change);
                    self.has_other.store(true, Ordering::Release);
                    continue;
                }
                Change::Missed { .. } => {
                    log.rows.clear();
                    log.after = position;
                }
                _ => continue,
            }
            self.has_log.store(true, Ordering::Release);
        }
        if log.rows.len() > MAX_LOG {
            log.after = log.rows.last_key_value().map_or(log.after, |(position, _)| *position);
            log.rows.clear();
        }
    }

    fn collect_other(&self, change: &Change) {
        let mut other = self.other.lock();
        match change {
            Change::Receipt(receipt) if other.receipts.len() < MAX_EPHEMERAL => {
                other.receipts.push((receipt.room, receipt.position));
            }
            Change::OneTimeKeys { user, .. } if other.keys.len() < MAX_EPHEMERAL => _ = other.keys.insert(user.clone()),
            _ => {}
        }
    }

    fn put(&self, put: impl FnOnce(&mut OtherChanges)) {
        if self.app_services.current().is_some() {
            put(&mut self.other.lock());
            self.other_arrived.notify_one();
        }
    }
}

impl CommitListener for ServiceChanges {
    fn apply(&self, changes: &[Change]) {
        if self.app_services.current().is_some() {
            self.collect(changes);
        } else if let Some(newest) = changes.iter().map(Change::position).max() {
            self.ignored.fetch_max(newest, Ordering::AcqRel);
        }
    }

    fn published(&self, _: Position, _: &[Change]) {
        // Not before: the log is read up to the position that is published.
        if self.has_log.swap(false, Ordering::AcqRel) {
            self.log_grew.notify_one();
        }
        if self.has_other.swap(false, Ordering::AcqRel) {
            self.other_arrived.notify_one();
        }
    }
}

impl EphemeralListener for ServiceChanges {
    fn typing_changed(&self, room: RoomNid, _: &UserId, _: bool) {
        self.put(|changes| {
            if changes.typing.len() < MAX_EPHEMERAL {
                changes.typing.insert(room);
            }
        });
    }

    fn presence_changed(&self, users: &BTreeSet<UserId>) {
        self.put(|changes| {
            let room = MAX_EPHEMERAL.saturating_sub(changes.presence.len());
            changes.presence.extend(users.iter().take(room).cloned());
        });
    }
}
