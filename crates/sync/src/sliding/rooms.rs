//! The rooms of a response, and what the client has of all rooms after it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_protocol::membership::Membership;
use plexus_store::repo::receipts::Receipt;
use plexus_store::{DbError, Position, RoomNid, Tx, repo};

use super::connection::{Progress, SentRoom, SentState};
use super::connections::StateChange;
use super::known_rooms::KnownRooms;
use super::lists::{RelevantRoom, Selection};
use super::room::{ReadRoom, RoomReader, RoomUpdate};
use crate::notifier::MaybeChanged;

/// The most rooms in one response. The others, which had their last activity earlier, follow in the next one.
const MAX_ROOMS: usize = 1_000;
/// When a response has more bytes of events than this, it gets no more rooms: a smaller one is read more surely on a
/// bad connection, and is in memory while it is read.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The rooms of a response.
pub(super) struct RoomUpdates {
    pub updates: BTreeMap<RoomNid, RoomUpdate>,
    /// What the client has after the response.
    pub state: SentState,
    /// How that differs from what it had.
    pub change: StateChange,
    /// The rooms of the connection that may have changed since the request's position; `None`: all.
    pub changed: Option<BTreeSet<RoomNid>>,
    /// Whether the next response has rooms for which there was no space in this one.
    pub has_more: bool,
}

impl RoomUpdates {
    /// Replaces what the client has of a room.
    pub(super) fn set(&mut self, room: SentRoom) {
        let before = self.state.room(room.nid);
        if before == Some(&room) {
            return;
        }
        let only_members =
            before.is_some_and(|before| SentRoom { members: Arc::clone(&room.members), ..before.clone() } == room);
        self.state.set(room);
        self.changed_by(if only_members { StateChange::Members } else { StateChange::Durable });
    }

    /// Records that what the client has changed.
    pub(super) fn changed_by(&mut self, change: StateChange) {
        self.change = self.change.max(change);
    }

    /// Whether a room of the connection may have changed since the request's position.
    pub(super) fn may_have_changed(&self, nid: RoomNid) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.contains(&nid))
    }
}

/// Reads the rooms of a response.
pub(super) async fn read(
    reader: &RoomReader<'_>,
    known: &KnownRooms,
    selection: &Selection,
) -> Result<RoomUpdates, DbError> {
    let changed = reader.from.and_then(|from| changed_rooms(reader, from));
    let mut rooms = RoomUpdates {
        updates: BTreeMap::new(),
        state: reader.state.clone(),
        change: StateChange::None,
        changed: if reader.from.is_some() { changed } else { Some(BTreeSet::new()) },
        has_more: false,
    };
    let own_receipts = own_receipts(reader, &rooms).await?;
    let needs_reading = |relevant: &&RelevantRoom| {
        own_receipts.contains(&relevant.known.membership.room) || may_have_news(reader, relevant)
    };
    let mut wanted: Vec<&RelevantRoom> = selection.rooms.values().filter(needs_reading).collect();
    wanted.sort_by_key(|relevant| Reverse(relevant.known.activity()));
    let (mut done, mut bytes, mut left_out) = (BTreeSet::new(), 0, false);
    for (number, relevant) in wanted.into_iter().enumerate() {
        if number == MAX_ROOMS || bytes > MAX_BYTES {
            left_out = true;
            break;
        }
        let nid = relevant.known.membership.room;
        match reader.read(relevant).await {
            Ok(Some(read)) => {
                done.insert(nid);
                bytes += read.update.as_ref().map_or(0, RoomUpdate::bytes);
                rooms.add(nid, read);
                // A room in memory is read without waiting: others get their turn.
                tokio::task::yield_now().await;
            }
            Ok(None) => {}
            // The client gets everything else.
            Err(error) if error.is_bad_data() => {
                tracing::warn!(room = nid, "a room is left out of a sliding sync: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    rooms.mark_unsent(reader, known, &done);
    // Unless something is stored, the next response would be about the same rooms again.
    rooms.has_more = left_out && rooms.change == StateChange::Durable;
    Ok(rooms)
}

/// Returns the rooms of the connection with an event or a receipt since a position; `None`: not known.
fn changed_rooms(reader: &RoomReader<'_>, from: Position) -> Option<BTreeSet<RoomNid>> {
    let state = reader.state;
    let is_mine = |nid| state.room(nid).is_some();
    let index = reader.context.parts.notifier.index();
    match index.rooms_changed(from, is_mine, || state.rooms().map(|room| room.nid)) {
        MaybeChanged::Known(rooms) => Some(rooms.into_iter().collect()),
        MaybeChanged::Unknown => None,
    }
}

/// Returns the rooms of the connection in which the user's own receipt has moved since the request's position.
async fn own_receipts(reader: &RoomReader<'_>, rooms: &RoomUpdates) -> Result<BTreeSet<RoomNid>, DbError> {
    let Some(from) = reader.from else { return Ok(BTreeSet::new()) };
    let (context, user) = (reader.context, &reader.context.request.user);
    let upto = context.now.position;
    let in_memory = |nid: &RoomNid| {
        let receipts = context.parts.receipts.in_memory(*nid, from, upto)?;
        Some(receipts.iter().any(|receipt| receipt.user == *user))
    };
    let found: Option<Vec<(RoomNid, bool)>> =
        rooms.changed.as_ref().and_then(|changed| changed.iter().map(|nid| Some((*nid, in_memory(nid)?))).collect());
    if let Some(found) = found {
        return Ok(found.into_iter().filter(|(_, moved)| *moved).map(|(nid, _)| nid).collect());
    }
    let key = user.to_string();
    let receipts: Vec<Receipt> =
        context.parts.db.read(move |tx: &mut Tx<'_>| repo::receipts::of_user(tx, &key)).await?;
    let moved = receipts.iter().filter(|receipt| receipt.position > from && receipt.position <= upto);
    Ok(moved.map(|receipt| receipt.room).filter(|nid| reader.state.room(*nid).is_some()).collect())
}

/// Whether there may be something to say of a room.
fn may_have_news(reader: &RoomReader<'_>, relevant: &RelevantRoom) -> bool {
    let RelevantRoom { known, config, .. } = relevant;
    let nid = known.membership.room;
    let (Some(sent), Some(from)) = (reader.state.room(nid), reader.from) else { return true };
    if sent.room != Progress::Live || known.last_change() > from {
        return true;
    }
    let has = reader.state.config(sent);
    matches!(known.membership.kind, Membership::Join | Membership::Leave | Membership::Ban)
        && (config.timeline_limit > sent.timeline_limit
            || sent.is_dm != reader.labels.direct.contains(&nid)
            || !has.is_some_and(|has| config.required_state.is_within(has)))
}

impl RoomUpdates {
    fn add(&mut self, nid: RoomNid, read: ReadRoom) {
        let ReadRoom { update, sent, has } = read;
        match sent {
            Some(mut sent) => {
                self.state.set_config(&mut sent, &has);
                self.set(sent);
            }
            None => {
                self.state.remove(nid);
                self.changed_by(StateChange::Durable);
            }
        }
        if let Some(update) = update {
            self.updates.insert(nid, update);
        }
    }

    /// Notes of the rooms that are not in the response up to where the client has them, where there is more.
    fn mark_unsent(&mut self, reader: &RoomReader<'_>, known: &KnownRooms, done: &BTreeSet<RoomNid>) {
        let Some(from) = reader.from else { return };
        let candidates: Vec<SentRoom> = match &self.changed {
            Some(changed) => changed.iter().filter_map(|nid| reader.state.room(*nid)).cloned().collect(),
            None => reader.state.rooms().cloned().collect(),
        };
        for mut sent in candidates {
            let nid = sent.nid;
            let is_behind = known.get(nid).is_none_or(|room| room.last_change() > from);
            if sent.room == Progress::Live && is_behind && !done.contains(&nid) {
                sent.room = Progress::Upto(from);
                self.set(sent);
            }
        }
        // A membership that ended counts as a change of the room too, and is not in the list above.
        let ended: Vec<SentRoom> = reader
            .context
            .memberships
            .iter()
            .filter(|membership| membership.position > from && !done.contains(&membership.room))
            .filter_map(|membership| self.state.room(membership.room))
            .filter(|sent| sent.room == Progress::Live)
            .cloned()
            .collect();
        for mut sent in ended {
            sent.room = Progress::Upto(from);
            self.set(sent);
        }
    }
}
