//! State snapshots: the state before any event, as chains of packed deltas.
//!
//! Snapshots form a tree: each is its parent with a few changes, and `depth` counts the steps from the empty state. The
//! stored row of a snapshot at depth d is the difference to its ancestor at `d & (d - 1)`, so that reading a snapshot
//! reads as many rows as d has bits set, and each change is stored log2(d) / 2 times on average.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::db::ToSql;
use crate::{DbError, EventNid, RoomNid, SnapshotNid, StateKeyNid, Tx, TypeNid, varint};

/// The key of a state entry: event type and state key.
pub type Key = (TypeNid, StateKeyNid);

/// A snapshot and its number of changes from the empty state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRef {
    pub nid: SnapshotNid,
    pub depth: u64,
}

impl SnapshotRef {
    /// The state before a room's create event; it has no row.
    pub const EMPTY: Self = Self { nid: 0, depth: 0 };

    /// Returns the snapshot `nid` of a state that begins with many entries and gets many more later by [`extend`]: all
    /// snapshots built on it meanwhile refer to it, and it is never copied.
    #[must_use]
    pub fn extensible(nid: SnapshotNid) -> Self {
        Self { nid, depth: 1 << 40 }
    }

    /// Returns the snapshot `nid` that makes `changes` changes to this one. A state that begins with many entries is as
    /// deep as if they had been added one by one: its next full copy is due when there are twice as many.
    #[must_use]
    pub fn child(self, nid: SnapshotNid, changes: usize) -> Self {
        let first = u64::try_from(changes).unwrap_or(u64::MAX).clamp(1, 1 << 40).next_power_of_two();
        Self { nid, depth: if self == Self::EMPTY { first } else { self.depth + 1 } }
    }
}

/// The event number that removes a key from the state.
pub const REMOVED: EventNid = 0;

#[derive(Debug, Clone)]
struct Node {
    room_nid: RoomNid,
    depth: u64,
    base: SnapshotNid,
    delta: BTreeMap<Key, EventNid>,
}

/// Recently written snapshots in their stored form: the next ones of a room are built from copies of them. (Those that
/// [`extend`] changes are never copied.) Owned by this process: what it lacks is read.
#[derive(Debug)]
pub struct Recent {
    cache: Cache<SnapshotNid, Stored, ByBytes>,
}

/// The snapshot that the difference refers to, and the packed difference.
#[derive(Debug, Clone)]
struct Stored(SnapshotNid, Arc<[u8]>);

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<SnapshotNid, Stored> for ByBytes {
    fn weight(&self, _: &SnapshotNid, stored: &Stored) -> u64 {
        // Including the overhead of an entry.
        stored.1.len() as u64 + 96
    }
}

/// The snapshots that a transaction wrote, to be cached once it is committed.
#[derive(Debug, Default)]
pub struct Written(Vec<(SnapshotNid, Stored)>);

impl Recent {
    /// Returns a cache of at most `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { cache: Cache::with_weighter(bytes / 160, bytes as u64, ByBytes) }
    }

    /// Returns the number of entries and their size in bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        (self.cache.len() as u64, self.cache.weight())
    }

    /// Caches committed snapshots.
    pub fn keep(&self, written: Written) {
        for (nid, stored) in written.0 {
            self.cache.insert(nid, stored);
        }
    }

    fn get(&self, nid: SnapshotNid) -> Option<(SnapshotNid, BTreeMap<Key, EventNid>)> {
        let Stored(base, delta) = self.cache.get(&nid)?;
        Some((base, unpack(&delta)?))
    }
}

/// Collects new snapshots and writes them in one statement.
#[derive(Debug, Default)]
pub struct Writer {
    new: HashMap<SnapshotNid, Node>,
    order: Vec<SnapshotNid>,
    recent: Option<Arc<Recent>>,
}

impl Writer {
    /// Returns a writer that reads only snapshots that are not in `recent` from the database.
    #[must_use]
    pub fn with(recent: Arc<Recent>) -> Self {
        Self { recent: Some(recent), ..Self::default() }
    }

    /// Adds a snapshot made by `parent.child(..)` or starting deeper: `parent` with some keys changed or [`REMOVED`].
    pub fn add(
        &mut self,
        tx: &mut Tx<'_>,
        room_nid: RoomNid,
        parent: SnapshotRef,
        snapshot: SnapshotRef,
        changes: impl IntoIterator<Item = (Key, EventNid)>,
    ) -> Result<(), DbError> {
        let mut delta: BTreeMap<Key, EventNid> = changes.into_iter().collect();
        let SnapshotRef { nid, depth } = snapshot;
        let base_depth = depth & (depth - 1);
        let mut at = parent;
        while at.depth > base_depth {
            let (base, older) = match self.new.get(&at.nid) {
                Some(node) => (node.base, node.delta.clone()),
                None => match self.recent.as_ref().and_then(|recent| recent.get(at.nid)) {
                    Some(stored) => stored,
                    None => load(tx, at.nid)?,
                },
            };
            for (key, event) in older {
                delta.entry(key).or_insert(event);
            }
            at = SnapshotRef { nid: base, depth: at.depth & (at.depth - 1) };
        }
        self.new.insert(nid, Node { room_nid, depth, base: at.nid, delta });
        self.order.push(nid);
        Ok(())
    }

    /// Writes the added snapshots.
    pub fn finish(self, tx: &mut Tx<'_>) -> Result<Written, DbError> {
        let rows: Vec<(SnapshotNid, &Node, Vec<u8>)> =
            self.order.iter().filter_map(|nid| self.new.get(nid).map(|node| (*nid, node, pack(&node.delta)))).collect();
        tx.insert_many_later(
            "INSERT INTO state_snapshots (snapshot_nid, room_nid, depth, base_nid, delta) VALUES ($1, $2, $3, $4, $5)",
            rows.iter().map(|(nid, node, delta)| {
                [
                    nid.to_param(),
                    node.room_nid.to_param(),
                    node.depth.to_param(),
                    node.base.to_param(),
                    delta.to_param(),
                ]
            }),
        )?;
        Ok(Written(rows.into_iter().map(|(nid, node, delta)| (nid, Stored(node.base, delta.into()))).collect()))
    }
}

/// Adds entries to a snapshot made by [`SnapshotRef::extensible`], and thus to all snapshots built on it. Existing keys
/// stay unchanged.
pub fn extend(tx: &mut Tx<'_>, nid: SnapshotNid, entries: &[(Key, EventNid)]) -> Result<(), DbError> {
    let (_, mut delta) = load(tx, nid)?;
    for (key, event) in entries {
        delta.entry(*key).or_insert(*event);
    }
    tx.execute_later("UPDATE state_snapshots SET delta = $2 WHERE snapshot_nid = $1", &[&nid, &pack(&delta)])?;
    Ok(())
}

/// Returns a snapshot's depth; the empty state's is 0.
pub fn depth(tx: &mut Tx<'_>, nid: SnapshotNid) -> Result<u64, DbError> {
    if nid == SnapshotRef::EMPTY.nid {
        return Ok(0);
    }
    tx.query_one("SELECT depth FROM state_snapshots WHERE snapshot_nid = $1", &[&nid], |row| row.get(0))
}

/// Returns the whole state of a snapshot.
pub fn read(tx: &mut Tx<'_>, nid: SnapshotNid) -> Result<BTreeMap<Key, EventNid>, DbError> {
    let mut state = BTreeMap::new();
    let mut at = nid;
    while at != SnapshotRef::EMPTY.nid {
        let (base, delta) = load(tx, at)?;
        for (key, event) in delta {
            state.entry(key).or_insert(event);
        }
        at = base;
    }
    state.retain(|_, event| *event != REMOVED);
    Ok(state)
}

/// Looks up single keys in several snapshots; shared rows are read once.
#[derive(Debug, Default)]
pub struct Reader {
    rows: HashMap<SnapshotNid, (SnapshotNid, BTreeMap<Key, EventNid>)>,
}

impl Reader {
    /// Returns the event under `key` in the snapshot.
    pub fn get(&mut self, tx: &mut Tx<'_>, snapshot: SnapshotNid, key: Key) -> Result<Option<EventNid>, DbError> {
        let mut at = snapshot;
        while at != SnapshotRef::EMPTY.nid {
            let (base, delta) = match self.rows.entry(at) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(load(tx, at)?),
            };
            if let Some(event) = delta.get(&key) {
                return Ok(Some(*event).filter(|event| *event != REMOVED));
            }
            at = *base;
        }
        Ok(None)
    }
}

/// Returns the state before an event; `None` for an outlier or an unknown event.
pub fn before_event(tx: &mut Tx<'_>, event: EventNid) -> Result<Option<SnapshotNid>, DbError> {
    let row: Option<Option<SnapshotNid>> =
        tx.query_opt("SELECT snapshot_nid FROM events WHERE event_nid = $1", &[&event], |row| row.get(0))?;
    Ok(row.flatten())
}

fn load(tx: &mut Tx<'_>, nid: SnapshotNid) -> Result<(SnapshotNid, BTreeMap<Key, EventNid>), DbError> {
    tx.query_one("SELECT base_nid, delta FROM state_snapshots WHERE snapshot_nid = $1", &[&nid], |row| {
        Ok((row.get(0)?, row.get_with(1, |bytes: Vec<u8>| unpack(&bytes).ok_or("not a packed delta"))?))
    })
}

fn pack(delta: &BTreeMap<Key, EventNid>) -> Vec<u8> {
    let mut out = Vec::with_capacity(delta.len() * 6);
    let mut last = (0, 0, 0);
    for (&(event_type, state_key), &event) in delta {
        varint::push_signed(&mut out, event_type - last.0);
        varint::push_signed(&mut out, state_key - last.1);
        varint::push_signed(&mut out, event - last.2);
        last = (event_type, state_key, event);
    }
    out
}

fn unpack(mut bytes: &[u8]) -> Option<BTreeMap<Key, EventNid>> {
    let mut delta = BTreeMap::new();
    let mut last = (0_i64, 0_i64, 0_i64);
    while !bytes.is_empty() {
        last.0 = last.0.checked_add(varint::take_signed(&mut bytes)?)?;
        last.1 = last.1.checked_add(varint::take_signed(&mut bytes)?)?;
        last.2 = last.2.checked_add(varint::take_signed(&mut bytes)?)?;
        delta.insert((last.0, last.1), last.2);
    }
    Some(delta)
}
