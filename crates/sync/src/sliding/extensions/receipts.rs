//! Receipts (MSC3960).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use plexus_protocol::id::RoomId;
use plexus_store::repo::receipts::{self as stored, Receipt};
use plexus_store::{DbError, Position, RoomNid, Tx};

use super::{ExtensionReader, receipt_event};
use crate::sliding::connection::{Progress, SentRoom};
use crate::sliding::room::RoomUpdate;
use crate::sliding::rooms::RoomUpdates;

/// A room whose receipts are read.
struct Wanted {
    nid: RoomNid,
    /// The client has the receipts at or before this; `None`: none.
    since: Option<Position>,
    /// The events for which all receipts are wanted, and with them the user's own; `None`: only new receipts are.
    events: Option<SentEvents>,
}

/// Events of a room.
#[derive(Default)]
struct SentEvents {
    ids: Vec<String>,
    /// All of them have a position after this.
    after: Position,
}

/// Reads the receipts of rooms that the client does not have, and notes up to where it has those of other rooms.
pub(super) async fn receipts(
    reader: &ExtensionReader<'_>,
    wanted: &BTreeSet<RoomNid>,
    rooms: &mut RoomUpdates,
) -> Result<BTreeMap<RoomId, String>, DbError> {
    let all: Vec<Wanted> = wanted.iter().filter_map(|nid| wanted_receipts(reader, *nid, rooms)).collect();
    let mut found = receipts_to_begin_with(reader, &all).await?;
    add_new_receipts(reader, &all, &mut found).await?;
    let mut events = BTreeMap::new();
    for Wanted { nid, .. } in all {
        let receipts = found.remove(&nid).unwrap_or_default();
        if let Some((id, event)) = reader.id(nid).zip(receipt_event(&receipts, reader.context)) {
            events.insert(id, event);
        }
        if let Some(sent) = rooms.state.room(nid).cloned() {
            rooms.set(SentRoom { receipts: Progress::Live, ..sent });
        }
    }
    mark_unsent_receipts(reader, wanted, rooms);
    Ok(events)
}

/// Returns what is to be read of a room; `None`: nothing.
fn wanted_receipts(reader: &ExtensionReader<'_>, nid: RoomNid, rooms: &RoomUpdates) -> Option<Wanted> {
    let from = reader.from.map(|from| from.position);
    let sent = rooms.state.room(nid)?;
    let update = rooms.updates.get(&nid);
    let is_whole = update.is_some_and(|update| update.initial || update.expanded);
    let since = from.and_then(|from| sent.receipts.since(from));
    if !is_whole && since.is_some() && sent.receipts == Progress::Live && !rooms.may_have_changed(nid) {
        return None;
    }
    let events = (is_whole || since.is_none()).then(|| sent_events(update));
    Some(Wanted { nid, since, events })
}

/// Returns the receipts for the events that the client is sent, and the user's own, of rooms that it does not have.
async fn receipts_to_begin_with(
    reader: &ExtensionReader<'_>,
    wanted: &[Wanted],
) -> Result<HashMap<RoomNid, Vec<Arc<Receipt>>>, DbError> {
    let upto = reader.context.now.position;
    let user = reader.context.request.user.to_string();
    let begun: Vec<(RoomNid, Vec<String>, Position)> = wanted
        .iter()
        .filter_map(|room| room.events.as_ref().map(|events| (room.nid, events.ids.clone(), events.after)))
        .collect();
    if begun.is_empty() {
        return Ok(HashMap::new());
    }
    let read = move |tx: &mut Tx<'_>| {
        let nids: Vec<RoomNid> = begun.iter().map(|(nid, ..)| *nid).collect();
        let mut found = stored::of_user_in_rooms(tx, &nids, &user, upto)?;
        for (nid, ids, after) in begun.iter().filter(|(_, ids, _)| !ids.is_empty()) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let others = stored::on_events(tx, *nid, &ids, *after, upto)?;
            found.extend(others.into_iter().filter(|receipt| receipt.user.as_str() != user));
        }
        Ok::<_, DbError>(found)
    };
    Ok(by_room(reader.context.parts.db.read(read).await?))
}

/// Adds the receipts that came since the client has those before.
async fn add_new_receipts(
    reader: &ExtensionReader<'_>,
    wanted: &[Wanted],
    found: &mut HashMap<RoomNid, Vec<Arc<Receipt>>>,
) -> Result<(), DbError> {
    let upto = reader.context.now.position;
    let mut unknown: BTreeMap<Position, Vec<RoomNid>> = BTreeMap::new();
    let mut add = |nid, new: Vec<Arc<Receipt>>| {
        let receipts = found.entry(nid).or_default();
        let known: BTreeSet<Position> = receipts.iter().map(|receipt| receipt.position).collect();
        receipts.extend(new.into_iter().filter(|receipt| !known.contains(&receipt.position)));
    };
    for Wanted { nid, since, .. } in wanted {
        let Some(since) = *since else { continue };
        match reader.context.parts.receipts.in_memory(*nid, since, upto) {
            Some(new) => add(*nid, new),
            None => unknown.entry(since).or_default().push(*nid),
        }
    }
    for (since, nids) in unknown {
        let read = move |tx: &mut Tx<'_>| stored::in_rooms(tx, &nids, since, upto);
        by_room(reader.context.parts.db.read(read).await?).into_iter().for_each(|(nid, new)| add(nid, new));
    }
    Ok(())
}

/// Notes of the rooms that are not asked for up to where the client has the receipts, where there are more.
pub(super) fn mark_unsent_receipts(reader: &ExtensionReader<'_>, wanted: &BTreeSet<RoomNid>, rooms: &mut RoomUpdates) {
    let Some(from) = reader.from.map(|from| from.position) else { return };
    let index = reader.context.parts.notifier.index();
    let is_behind = |sent: &&SentRoom| {
        sent.receipts == Progress::Live
            && !wanted.contains(&sent.nid)
            && rooms.may_have_changed(sent.nid)
            && (rooms.changed.is_none() || index.room(sent.nid).receipt > from)
    };
    let behind: Vec<SentRoom> = match &rooms.changed {
        Some(changed) => changed.iter().filter_map(|nid| rooms.state.room(*nid)).filter(is_behind).cloned().collect(),
        None => rooms.state.rooms().filter(is_behind).cloned().collect(),
    };
    for sent in behind {
        rooms.set(SentRoom { receipts: Progress::Upto(from), ..sent });
    }
}

/// Returns the events of a room that the client is sent.
fn sent_events(update: Option<&RoomUpdate>) -> SentEvents {
    let timeline = update.and_then(|update| update.timeline.as_ref());
    let events = timeline.map(|timeline| &timeline.events[..]).unwrap_or_default();
    SentEvents {
        ids: events.iter().map(|event| event.pdu.event_id().to_string()).collect(),
        after: events.iter().map(|event| event.position).min().unwrap_or(0),
    }
}

fn by_room(receipts: Vec<Receipt>) -> HashMap<RoomNid, Vec<Arc<Receipt>>> {
    let mut found: HashMap<RoomNid, Vec<Arc<Receipt>>> = HashMap::new();
    for receipt in receipts {
        found.entry(receipt.room).or_default().push(Arc::new(receipt));
    }
    found
}
