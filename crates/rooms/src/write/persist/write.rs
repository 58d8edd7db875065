//! Writes a batch of events of all rooms, inside its transaction.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_protocol::membership::Membership;
use plexus_store::repo::current_state::Delta;
use plexus_store::repo::federation_out::Outgoing;
use plexus_store::repo::memberships::{Member, RoomMembership};
use plexus_store::repo::rooms::{Advance, RoomRow};
use plexus_store::repo::scheduled_tasks::ScheduledTask;
use plexus_store::repo::transactions::TransactionRow;
use plexus_store::repo::{self, state_snapshots, timeline_gaps};
use plexus_store::{Change, DbError, EventNid, Position, RoomNid, StickyEvent, Tx};

use super::outgoing::{outgoing, outgoing_to_new_server};
use super::sticky::sticky_event;
use crate::model::current_state::{CurrentState, StateChange};
use crate::model::engine_memory::EngineMemory;
use crate::model::interner::{Lookups, NewTexts};
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::state_map::StateMap;
use crate::write::error::PersistError;
use crate::write::event_rows::{self, GraphRows};
use crate::write::pending::{Append, PendingEvent};
use crate::write::{event_tasks, expiry_task};

/// A batch that has been written, but is not committed yet.
pub(crate) struct Written {
    /// The positions of the events, for each request; `None` for an event that is not in the timeline and changes no
    /// state.
    pub positions: Vec<Vec<Option<Position>>>,
    /// The last position of each request.
    pub last_positions: Vec<Position>,
    /// The changed rooms, each once.
    pub moves: Vec<RoomMove>,
    pub texts: NewTexts,
    pub snapshots: state_snapshots::Written,
}

/// A room as a batch leaves it.
pub(crate) struct RoomMove {
    pub room: RoomNid,
    /// The revision of its row after the batch.
    pub revision: i64,
    /// The position of its newest change; `None` if no event has a position.
    pub position: Option<Position>,
    /// Whether stored events are redacted.
    pub redacts: bool,
}

#[derive(Default)]
struct Rows {
    now_ms: u64,
    graph: GraphRows,
    deltas: Vec<Delta>,
    memberships: Vec<(Member, RoomMembership)>,
    redactions: Vec<(EventNid, EventNid)>,
    outgoing: Vec<Outgoing>,
    sticky: Vec<StickyEvent>,
    tasks: Vec<ScheduledTask>,
    /// The current state of each room after its last event so far.
    current: HashMap<RoomNid, Arc<CurrentState>>,
}

/// Writes a batch. Its statements fail if another writer was faster.
pub(super) fn batch(
    tx: &mut Tx<'_>,
    memory: &EngineMemory,
    appends: &[Arc<Append>],
    now_ms: u64,
) -> Result<Written, PersistError> {
    transactions(tx, appends, now_ms)?;
    let mut lookups = memory.interner.lookups();
    let snapshots = state_snapshots::Writer::with(Arc::clone(&memory.snapshots));
    let mut rows = Rows { now_ms, graph: GraphRows::new(snapshots), ..Rows::default() };
    let mut positions = Vec::with_capacity(appends.len());
    for append in appends {
        let mut own = Vec::with_capacity(append.events.len());
        for event in &append.events {
            own.push(rows.add(tx, (append, memory), event, &mut lookups)?);
        }
        positions.push(own);
    }
    for append in appends {
        if let Some(entered) = &append.entered {
            repo::partial_joins::set(tx, append.room.nid, entered.partial.as_deref())?;
        }
    }
    note_end_of_guest_access(tx, (appends, &memory.server_name), &positions, &rows.current)?;
    set_open_rooms(tx, appends, &rows.current)?;
    note_avatars(tx, appends)?;
    // First, so that events built on an outdated room are stale, even if another writer has built an identical event on
    // it.
    let mut moves = moves(appends, &positions)?;
    let room_moves = moves.values().map(Moved::room_move).collect();
    create_rooms(tx, appends, &mut moves)?;
    repo::rooms::advance(tx, &moves.into_values().map(|moved| moved.advance).collect::<Vec<_>>())?;
    let snapshots = rows.graph.write(tx)?;
    repo::current_state::apply(tx, &rows.deltas)?;
    repo::memberships::set(tx, &last_of_each(rows.memberships))?;
    let redacted: Vec<EventNid> = rows.redactions.iter().map(|(event, _)| *event).collect();
    repo::federation_out::add(tx, &rows.outgoing)?;
    repo::sticky_events::add(tx, &rows.sticky)?;
    event_tasks::schedule(tx, memory, &rows.tasks)?;
    repo::redactions::add(tx, &redacted, now_ms)?;
    for (event, redaction) in rows.redactions {
        repo::events::set_redacted(tx, event, redaction)?;
    }
    let last = |positions: &Vec<Option<Position>>| positions.iter().rev().find_map(|at| *at).unwrap_or(0);
    let last_positions = positions.iter().map(last).collect();
    Ok(Written { positions, last_positions, moves: room_moves, texts: lookups.into_new(), snapshots })
}

fn transactions(tx: &mut Tx<'_>, appends: &[Arc<Append>], now_ms: u64) -> Result<(), DbError> {
    let events = appends.iter().flat_map(|append| &append.events);
    let rows: Vec<TransactionRow> = events
        .filter_map(|event| {
            let (key, transaction) = event.transaction.as_ref()?;
            Some(TransactionRow {
                event_nid: event.nid,
                scope: key.scope,
                device_id: transaction.device_id.as_ref().to_owned(),
                txn_id: transaction.txn_id.as_bytes().to_vec(),
                created_ts: now_ms,
            })
        })
        .collect();
    repo::transactions::insert(tx, &rows)
}

/// Notes the rooms that were open to guests before the batch and are not after it, and closed rooms that a guest has
/// joined: their guests have to leave.
fn note_end_of_guest_access(
    tx: &mut Tx<'_>,
    (appends, own_server): (&[Arc<Append>], &ServerName),
    positions: &[Vec<Option<Position>>],
    current: &HashMap<RoomNid, Arc<CurrentState>>,
) -> Result<(), DbError> {
    for (append, positions) in appends.iter().zip(positions) {
        let room = &append.room;
        let Some(after) = current.get(&room.nid) else { continue };
        let is_left = leaves_guests_behind(&room.view(), after, &append.events, own_server);
        let ended = is_left && !after.local_joined.is_empty();
        if let (true, Some(position)) = (ended, positions.iter().flatten().max()) {
            repo::guest_access::ended(tx, room.nid, *position)?;
        }
    }
    Ok(())
}

/// Updates in the user directory whether rooms are open, where that may have changed.
fn set_open_rooms(
    tx: &mut Tx<'_>,
    appends: &[Arc<Append>],
    current: &HashMap<RoomNid, Arc<CurrentState>>,
) -> Result<(), DbError> {
    let decides =
        |change: &StateChange| matches!(&*change.event_type, "m.room.join_rules" | "m.room.history_visibility");
    for append in appends {
        let Some(after) = current.get(&append.room.nid) else { continue };
        // Several users may join or leave in one batch.
        let enters_or_leaves = append.room.view().local_joined.is_empty() != after.local_joined.is_empty();
        if enters_or_leaves || append.events.iter().flat_map(|event| &event.changes).any(decides) {
            repo::user_directory::set_open(tx, append.room.nid, after.shows_members_to_all())?;
        }
    }
    Ok(())
}

/// Notes the rooms whose avatars may have changed.
fn note_avatars(tx: &mut Tx<'_>, appends: &[Arc<Append>]) -> Result<(), DbError> {
    for append in appends {
        if append.events.iter().flat_map(|event| &event.changes).any(|change| &*change.event_type == "m.room.avatar") {
            repo::avatars::note_change(tx, append.room.nid)?;
        }
    }
    Ok(())
}

/// Whether guests may be in a room that is closed to guests after these events.
pub(super) fn leaves_guests_behind<'a>(
    before: &RoomView,
    after: &CurrentState,
    events: impl IntoIterator<Item = &'a PendingEvent>,
    own_server: &ServerName,
) -> bool {
    let joins = || events.into_iter().any(|event| is_join_of_guest(&event.pdu, own_server));
    !after.guests_can_join && (before.guests_can_join || joins())
}

/// Whether an event is the join of a guest of this server, which marks such joins. Other servers may set the mark in
/// any event.
fn is_join_of_guest(pdu: &Pdu, own_server: &ServerName) -> bool {
    let content = pdu.content();
    pdu.event_type() == "m.room.member"
        && pdu.sender().server_name() == own_server.as_str()
        && content.get_str("membership") == Some("join")
        && content.get_str("kind") == Some("guest")
}

/// The changes of a batch to a room's row.
struct Moved {
    advance: Advance,
    newest: Option<Position>,
    redacts: bool,
}

impl Moved {
    fn room_move(&self) -> RoomMove {
        let Self { advance, newest, redacts } = self;
        let (room, revision) = (advance.room_nid, advance.expected_revision + 1);
        RoomMove { room, revision, position: *newest, redacts: *redacts }
    }
}

/// Returns the changes to the rows of the rooms.
///
/// # Errors
/// If a room has been read again since its events were built.
fn moves(
    appends: &[Arc<Append>],
    positions: &[Vec<Option<Position>>],
) -> Result<HashMap<RoomNid, Moved>, PersistError> {
    let mut moves: HashMap<RoomNid, Moved> = HashMap::new();
    for (append, positions) in appends.iter().zip(positions) {
        let Some(last) = append.events.last() else { continue };
        let own = append.events.iter().zip(positions);
        let seen = own.filter(|(event, _)| event.in_timeline).filter_map(|(_, position)| *position).next_back();
        let newest = positions.iter().flatten().max().copied();
        let redacts = |event: &PendingEvent| event.redacts.is_some() || event.redacted_by.is_some();
        let redacts = append.events.iter().any(redacts);
        let before = moves.get(&append.room.nid);
        let advance = Advance {
            room_nid: append.room.nid,
            expected_revision: append.room.revision_of(append.epoch).ok_or(PersistError::Stale)?,
            extremities: last.tip.extremities.iter().map(|extremity| extremity.nid).collect(),
            depth: i64::try_from(last.tip.depth).unwrap_or(i64::MAX),
            snapshot_nid: last.tip.snapshot.nid,
            position: seen.or(before.and_then(|before| before.advance.position)),
        };
        let newest = newest.or(before.and_then(|before| before.newest));
        let redacts = redacts || before.is_some_and(|before| before.redacts);
        moves.insert(append.room.nid, Moved { advance, newest, redacts });
    }
    Ok(moves)
}

/// Writes the rows of new rooms, as the batch leaves them.
fn create_rooms(
    tx: &mut Tx<'_>,
    appends: &[Arc<Append>],
    moves: &mut HashMap<RoomNid, Moved>,
) -> Result<(), PersistError> {
    for append in appends {
        let (Some(creation), Some(first)) = (&append.creation, append.events.first()) else { continue };
        // Missing if another request of the batch creates the same room.
        let to = moves.remove(&append.room.nid).ok_or(PersistError::Stale)?.advance;
        let row = RoomRow {
            room_nid: append.room.nid,
            room_id: append.room.id.as_str().to_owned(),
            room_version: append.room.version.as_str().to_owned(),
            revision: to.expected_revision + 1,
            extremities: to.extremities,
            depth: to.depth,
            snapshot_nid: to.snapshot_nid,
            position: to.position.unwrap_or(0),
            published: creation.published,
        };
        repo::rooms::create(tx, &row)?;
        if let Some(alias) = &creation.alias {
            repo::aliases::insert(tx, alias, append.room.nid, first.pdu.sender().as_str())?;
        }
    }
    Ok(())
}

impl Rows {
    fn add(
        &mut self,
        tx: &mut Tx<'_>,
        (append, memory): (&Append, &EngineMemory),
        event: &PendingEvent,
        lookups: &mut Lookups<'_>,
    ) -> Result<Option<Position>, DbError> {
        let room_nid = append.room.nid;
        let pdu = &event.pdu;
        let opens_gap = event.missing.as_ref().is_some_and(|missing| missing.opens_gap.is_some());
        if opens_gap {
            tx.reserve_positions(timeline_gaps::RESERVED)?;
        }
        let position = if event.in_timeline || !event.changes.is_empty() { Some(tx.next_position()?) } else { None };
        let late = event.in_timeline && append.room.comes_late(event_rows::origin_server_ts(pdu), self.now_ms);
        self.graph.add(tx, lookups, room_nid, event, position.filter(|_| event.in_timeline), late)?;
        if let Some(missing) = &event.missing {
            timeline_gaps::add_backward_extremities(tx, room_nid, missing.gap_nid, &missing.extremities)?;
        }
        if let Some(gap) = position.and_then(|position| event.opened_gap(position)) {
            timeline_gaps::set(tx, room_nid, &gap)?;
        }
        if let Some(position) = position {
            for change in &event.changes {
                self.change(tx, memory, &append.room, position, change, lookups)?;
            }
        }
        if let Some(position) = position.filter(|_| event.in_timeline) {
            let before = self.current.get(&room_nid).map_or_else(|| append.room.view().current.clone(), Arc::clone);
            let outgoing = outgoing(memory.server_name.as_str(), room_nid, position, event, &before);
            tx.announce(Change::Event { room: room_nid, position, outgoing: outgoing.is_some() });
            self.outgoing.extend(outgoing);
            self.graph.add_relation(tx, lookups, room_nid, event, Some(position))?;
        }
        self.sticky.extend(sticky_event(tx, memory, &append.room, event, position, self.now_ms, lookups)?);
        if let (Some(accepted), Some(position)) = (memory.accepted_invites, position) {
            self.tasks.extend(accepted.task(
                &memory.server_name,
                &append.room,
                pdu,
                &event.changes,
                position,
                self.now_ms,
            ));
        }
        if memory.expiring_messages && event.in_timeline && event.redacted_by.is_none() {
            self.tasks.extend(expiry_task::task(&append.room, event.nid, pdu));
        }
        self.current.insert(room_nid, Arc::clone(&event.current));
        if let Some(redaction) = &event.redacts {
            let target = redaction.target.nid;
            self.redactions.push((target, event.nid));
            // A redacted event is not sticky any more.
            self.sticky.retain(|sticky| sticky.event_nid != target);
            if let Some(sticky) = memory.sticky.find(room_nid, target) {
                repo::sticky_events::end(tx, sticky)?;
            }
        }
        self.redactions.extend(event.redacted_by.as_ref().map(|redaction| (event.nid, redaction.nid)));
        if event.in_timeline && event.redacts.as_ref().is_none_or(|redaction| !redaction.target.in_timeline) {
            self.graph.add_early_redaction(event);
        }
        Ok(position)
    }

    /// Adds the rows of a change of the current state, and of the membership that changes with it.
    fn change(
        &mut self,
        tx: &mut Tx<'_>,
        memory: &EngineMemory,
        room: &Room,
        position: Position,
        change: &StateChange,
        lookups: &mut Lookups<'_>,
    ) -> Result<(), DbError> {
        let room_nid = room.nid;
        let entry = change.entry.as_ref();
        self.deltas.push(Delta {
            room_nid,
            type_nid: lookups.event_type(tx, &change.event_type)?,
            state_key_nid: lookups.state_key(tx, &change.state_key)?,
            position,
            event_nid: entry.map(|entry| entry.nid),
            prev_event_nid: change.replaced,
            membership: entry.and_then(|entry| entry.membership),
        });
        if let Some((user, kind, event_nid)) = change.membership() {
            let forgotten = memory.forgets(kind);
            let row = RoomMembership { room: room_nid, kind, event_nid, position, forgotten };
            let is_local = user.server_name() == memory.server_name.as_str();
            self.memberships.push((Member { user_nid: lookups.user(tx, &user)?, is_local }, row));
            let is_join = |state: &StateMap| state.membership(user.as_str()) == Some(Membership::Join);
            let was_joined = match self.current.get(&room_nid) {
                Some(before) => is_join(&before.state),
                None => is_join(&room.view().state),
            };
            if kind == Membership::Join && !is_local && !was_joined {
                let before = self.current.get(&room_nid).map_or_else(|| room.view().current.clone(), Arc::clone);
                self.outgoing.extend(outgoing_to_new_server(tx, memory, room_nid, &user, &before)?);
            }
            tx.announce(Change::Membership { user, membership: row, was_joined });
        }
        Ok(())
    }
}

/// Returns the last membership of each user and room: a statement may name them only once.
fn last_of_each(rows: Vec<(Member, RoomMembership)>) -> Vec<(Member, RoomMembership)> {
    let mut last = std::collections::BTreeMap::new();
    for (user, row) in rows {
        last.insert((user, row.room), row);
    }
    last.into_iter().map(|((user, _), row)| (user, row)).collect()
}

#[cfg(test)]
mod tests {
    use plexus_protocol::event::build::PduBuilder;
    use plexus_protocol::event::sign::SigningKey;
    use plexus_protocol::id::{RoomId, UserId};
    use plexus_protocol::json::Object;
    use plexus_protocol::rules::RoomVersion;

    use super::*;

    #[test]
    fn only_own_joins_are_those_of_guests() {
        let own = ServerName::try_from("localhost").unwrap();
        let member = |sender: &str, membership: &str| {
            let sender = UserId::try_from(sender).unwrap();
            let builder = PduBuilder {
                room_id: Some(RoomId::try_from("!room:localhost").unwrap()),
                state_key: Some(sender.to_string()),
                sender,
                event_type: "m.room.member".to_owned(),
                content: Object::from([("membership", membership), ("kind", "guest")]),
                unsigned: None,
                redacts: None,
                prev_events: Vec::new(),
                auth_events: Vec::new(),
                depth: 5,
                origin_server_ts: 1,
            };
            builder.build(RoomVersion::V11, &SigningKey::generate(&[7; 32], "test"), &own).unwrap()
        };
        assert!(is_join_of_guest(&member("@1:localhost", "join"), &own));
        assert!(!is_join_of_guest(&member("@1:localhost", "leave"), &own));
        assert!(!is_join_of_guest(&member("@1:b.example", "join"), &own));
    }
}
