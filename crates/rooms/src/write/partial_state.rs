//! Completes the state of rooms that this server joined with partial state. The rest is added to the state before the
//! join, and thereby to the states of all later events, and to the current state.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_protocol::id::UserId;
use plexus_store::repo;
use plexus_store::repo::current_state::Delta;
use plexus_store::repo::memberships::{Member, RoomMembership};
use plexus_store::repo::partial_joins::PartialJoin;
use plexus_store::repo::rooms::Advance;
use plexus_store::repo::state_snapshots::{self, Key};
use plexus_store::{Change, DbError, EventNid, HandedOver, Position, Tx};

use crate::model::current_state::{self, CurrentState};
use crate::model::engine_memory::EngineMemory;
use crate::model::interner::NewTexts;
use crate::model::partial_state::incomplete_join;
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::state_at;
use crate::model::state_map::{StateEntry, StateMap};
use crate::write::error::{AddError, PersistError};
use crate::write::head_lock;
use crate::write::writer::RoomWriter;

/// The number of entries of one transaction, between which other writers get their turn.
const ENTRIES_PER_TRANSACTION: usize = 1_000;
/// Entries that have been added to the database, and not to memory yet.
#[derive(Default)]
struct Added {
    state: StateMap,
    keys: Vec<(Key, EventNid)>,
}

/// Adds the missing entries of `state` to the state before the join. `full`: whether `state` is complete.
///
/// # Errors
/// See [`AddError`].
pub async fn add_state(
    writer: &RoomWriter,
    room: &Arc<Room>,
    state: &[Arc<StateEntry>],
    full: bool,
) -> Result<(), AddError> {
    let Some(join) = incomplete_join(&room.view()) else { return Ok(()) };
    let event = join.event_nid;
    let row = writer.db.read(move |tx| repo::events::by_nids(tx, &[event])).await?.pop();
    let joined_at = row.and_then(|row| row.position).unwrap_or(0);
    let mut added = Added::default();
    for entries in state.chunks(ENTRIES_PER_TRANSACTION) {
        let (mut entries, kept): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| !entry.keeps_event());
        let (version, nids) = (room.version, kept.iter().map(|entry| entry.nid).collect::<Vec<_>>());
        if !nids.is_empty() {
            entries.extend(writer.db.read(move |tx| state_at::entries(tx, version, &nids)).await?);
        }
        // The first of two events for a key counts.
        entries.retain(|entry| match added.state.get(&entry.event_type, &entry.state_key) {
            Some(_) => false,
            None => added.state.insert(Arc::clone(entry)).is_none(),
        });
        added.keys.extend(add_entries(writer, room, entries, joined_at).await?);
    }
    finish(writer, room, &join, added, full).await?;
    Ok(())
}

/// Adds entries to the current state in the database, where there are none. Clients do not see them yet. Returns the
/// keys of all entries.
async fn add_entries(
    writer: &RoomWriter,
    room: &Arc<Room>,
    entries: Vec<Arc<StateEntry>>,
    joined_at: Position,
) -> Result<Vec<(Key, EventNid)>, DbError> {
    let (memory, room) = (Arc::clone(&writer.rooms.memory), Arc::clone(room));
    let (keys, texts) = writer.db.write(move |tx| add_some(tx, &memory, &room, &entries, joined_at)).await?;
    writer.rooms.memory.interner.keep(texts);
    Ok(keys)
}

/// Makes all added entries visible at once.
async fn finish(
    writer: &RoomWriter,
    room: &Arc<Room>,
    join: &PartialJoin,
    added: Added,
    full: bool,
) -> Result<(), PersistError> {
    // Held until the commit, so that no event of the room is pending.
    let head = head_lock::settled_head(writer, room).await?;
    let expected_revision = room.revision_of(head.epoch).ok_or(PersistError::Stale)?;
    let view = room.view();
    if incomplete_join(&view).is_none_or(|now| now.event_nid != join.event_nid) {
        return Ok(());
    }
    let mut state = view.state.clone();
    for entry in added.state.iter() {
        if state.get(&entry.event_type, &entry.state_key).is_none() {
            state.insert(Arc::clone(entry));
        }
    }
    let mut current = current_state::current_state(room.version, state, writer.server_name.as_str());
    if !full {
        join.servers.iter().for_each(|server| current.servers.add_claimed(server));
    }
    let (room, join) = (Arc::clone(room), join.clone());
    let current = Arc::new(current);
    let finish = Finish { room, expected_revision, view, current, join, keys: added.keys, full };
    writer.db.write(move |tx| finish.write(tx)).await
}

fn add_some(
    tx: &mut Tx<'_>,
    memory: &Arc<EngineMemory>,
    room: &Arc<Room>,
    entries: &[Arc<StateEntry>],
    joined_at: Position,
) -> Result<(Vec<(Key, EventNid)>, NewTexts), DbError> {
    let users: HashMap<&str, UserId> = entries
        .iter()
        .filter(|entry| &*entry.event_type == "m.room.member")
        .filter_map(|entry| Some((&*entry.state_key, UserId::try_from(&*entry.state_key).ok()?)))
        .collect();
    let mut lookups = memory.interner.lookups();
    lookups.prepare(tx, users.keys().copied(), entries.iter().map(|entry| &*entry.state_key))?;
    let mut deltas = Vec::with_capacity(entries.len());
    for entry in entries {
        // It was in the state when this server joined.
        deltas.push(Delta {
            room_nid: room.nid,
            type_nid: lookups.event_type(tx, &entry.event_type)?,
            state_key_nid: lookups.state_key(tx, &entry.state_key)?,
            position: joined_at,
            event_nid: Some(entry.nid),
            prev_event_nid: None,
            membership: entry.membership,
        });
    }
    let added = repo::current_state::fill(tx, &deltas)?;
    let (mut rows, mut older) = (Vec::new(), Vec::new());
    for (entry, delta) in entries.iter().zip(&deltas) {
        let (Some(user), Some(kind)) = (users.get(&*entry.state_key), entry.membership) else { continue };
        if added.contains(&(delta.type_nid, delta.state_key_nid)) {
            // The clients of local users see it now.
            let is_own = user.server_name() == memory.server_name.as_str();
            let position = if is_own { tx.next_position()? } else { joined_at };
            let (room_nid, event_nid) = (room.nid, entry.nid);
            let forgotten = memory.forgets(kind);
            let membership = RoomMembership { room: room_nid, kind, position, event_nid, forgotten };
            rows.push((Member { user_nid: lookups.user(tx, user)?, is_local: is_own }, membership));
            if is_own {
                tx.announce(Change::Membership { user: user.clone(), membership, was_joined: false });
            } else {
                older.push((user.clone(), membership));
            }
        }
    }
    repo::memberships::set(tx, &rows)?;
    let object = HandedOver::new(Arc::new(OlderMemberships(older)));
    tx.announce(Change::OlderMemberships { room: room.nid, position: joined_at, object });
    let keys = deltas.iter().zip(entries).map(|(delta, entry)| ((delta.type_nid, delta.state_key_nid), entry.nid));
    Ok((keys.collect(), lookups.into_new()))
}

/// The last step of completing a room's state.
struct Finish {
    room: Arc<Room>,
    /// The revision of `view`.
    expected_revision: i64,
    view: Arc<RoomView>,
    current: Arc<CurrentState>,
    join: PartialJoin,
    keys: Vec<(Key, EventNid)>,
    full: bool,
}

impl Finish {
    fn write(self, tx: &mut Tx<'_>) -> Result<(), PersistError> {
        let Self { room, expected_revision, view, current, mut join, keys, full } = self;
        repo::rooms::advance(
            tx,
            &[Advance {
                room_nid: room.nid,
                expected_revision,
                extremities: view.tip.extremities.iter().map(|extremity| extremity.nid).collect(),
                depth: i64::try_from(view.tip.depth).unwrap_or(i64::MAX),
                snapshot_nid: view.tip.snapshot.nid,
                position: None,
            }],
        )?;
        state_snapshots::extend(tx, join.snapshot_nid, &keys)?;
        let position = tx.next_position()?;
        join.visible_position = join.visible_position.or(Some(position));
        join.full_position = full.then_some(position);
        repo::partial_joins::set(tx, room.nid, Some(&join))?;
        tx.announce(Change::Event { room: room.nid, position, outgoing: false });
        let (nid, revision) = (room.nid, expected_revision + 1);
        let object = HandedOver::new(Arc::new(CompletedState { room, view, current, join: Arc::new(join) }));
        tx.announce(Change::Room { room: nid, revision, position, redacts: false, object });
        Ok(())
    }
}

/// A room whose state has been completed, or extended.
pub(crate) struct CompletedState {
    pub room: Arc<Room>,
    /// The view before.
    view: Arc<RoomView>,
    current: Arc<CurrentState>,
    join: Arc<PartialJoin>,
}

impl CompletedState {
    /// Takes the room in memory to a revision. Runs on the writer thread.
    pub(crate) fn apply(&self, memory: &EngineMemory, revision: i64) {
        let Self { room, view, current, join } = self;
        let (current, partial) = (Arc::clone(current), Some(Arc::clone(join)));
        room.advance(revision, || RoomView { current, partial, ..RoomView::clone(view) });
        // The next writer reads the head from the database.
        room.epoch.fetch_add(1, Ordering::Release);
        room.state_completed.notify_waiters();
        memory.directory.record_change();
    }
}

/// Memberships of other servers' users in a room whose state is being completed.
pub(crate) struct OlderMemberships(pub(crate) Vec<(UserId, RoomMembership)>);

#[cfg(test)]
mod tests {
    use plexus_base::Clock;
    use plexus_protocol::id::RoomId;
    use plexus_protocol::rules::RoomVersion;
    use plexus_store::Database;
    use plexus_store::repo::rooms::RoomRow;
    use plexus_store::repo::state_snapshots::SnapshotRef;

    use super::*;
    use crate::model::erased_users::ErasedUsers;
    use crate::model::event_cache::EventCache;
    use crate::model::room::SharedMemory;
    use crate::model::sticky_events::StickyEvents;

    const NID: i64 = 7;
    const SNAPSHOT: i64 = 2;

    /// Returns a room at revision 1, whose row has no events.
    async fn stored_room(db: &Database) -> Arc<Room> {
        let row = RoomRow {
            room_nid: NID,
            room_id: "!room:localhost".to_owned(),
            room_version: "11".to_owned(),
            revision: 1,
            extremities: Vec::new(),
            depth: 0,
            snapshot_nid: SNAPSHOT,
            position: 0,
            published: false,
        };
        let created = db.write(move |tx| {
            let mut snapshots = state_snapshots::Writer::with(Arc::new(state_snapshots::Recent::new(0)));
            snapshots.add(tx, NID, SnapshotRef::EMPTY, SnapshotRef::extensible(SNAPSHOT), [])?;
            snapshots.finish(tx)?;
            repo::rooms::create(tx, &row)
        });
        created.await.unwrap();
        let events = Arc::new(EventCache::new(1 << 20));
        let redactions = events.redactions();
        let (erased, sticky) = (ErasedUsers::default(), StickyEvents::new(false, Clock::manual(0)));
        let identity = (NID, RoomId::try_from("!room:localhost").unwrap(), RoomVersion::V11);
        let view = RoomView::empty(RoomVersion::V11);
        Arc::new(Room::new(db.clone(), SharedMemory { events, erased, sticky }, identity, (1, redactions), view))
    }

    /// Returns the last step of completing the state of a room as it is in memory.
    fn finish(room: &Arc<Room>) -> Finish {
        let join = PartialJoin {
            event_nid: 1,
            snapshot_nid: SNAPSHOT,
            joined_via: "elsewhere".to_owned(),
            servers: Vec::new(),
            visible_position: None,
            full_position: None,
        };
        let view = room.view();
        let current = Arc::clone(&view.current);
        let expected_revision = room.revision_of(0).expect("the room was not read again");
        Finish { room: Arc::clone(room), expected_revision, view, current, join, keys: Vec::new(), full: true }
    }

    #[tokio::test]
    async fn a_commit_of_somebody_else_is_not_overwritten() {
        for database in plexus_testkit::databases() {
            let db = database.db();
            let room = stored_room(&db).await;
            let finish = finish(&room);
            // Another process writes, and the room is read again, before the transaction begins.
            let touched = db.write(|tx| repo::rooms::touch(tx, NID, 1, false, HandedOver::default()));
            touched.await.unwrap();
            room.epoch.fetch_add(1, Ordering::Release);
            room.replace(2, RoomView::empty(RoomVersion::V11));
            let result = db.write(move |tx| finish.write(tx)).await;
            assert!(matches!(result, Err(PersistError::Stale)), "{result:?}");
            let row = db.read(|tx| repo::rooms::by_nid(tx, NID)).await.unwrap().unwrap();
            assert_eq!(row.revision, 2);
            // A head from before is void.
            assert_eq!((room.revision_of(0), room.revision_of(1)), (None, Some(2)));
        }
    }

    #[tokio::test]
    async fn the_state_is_completed_where_nobody_else_writes() {
        for database in plexus_testkit::databases() {
            let db = database.db();
            let room = stored_room(&db).await;
            let finish = finish(&room);
            db.write(move |tx| finish.write(tx)).await.unwrap();
            let row = db.read(|tx| repo::rooms::by_nid(tx, NID)).await.unwrap().unwrap();
            assert_eq!(row.revision, 2);
        }
    }
}
