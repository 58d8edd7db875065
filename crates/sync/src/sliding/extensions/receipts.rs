//! Receipts (MSC3960).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_protocol::id::RoomId;
use plexus_store::repo::receipts::{self as stored, Receipt};
use plexus_store::{DbError, Position, RoomNid, Tx};

use super::{ExtensionReader, receipt_event};
use crate::sliding::connection::{Progress, SentRoom};
use crate::sliding::room::RoomUpdate;
use crate::sliding::rooms::RoomUpdates;

impl ExtensionReader<'_> {
    /// Reads the receipts of rooms that the client does not have, and notes up to where it has those of other rooms.
    pub(super) async fn receipts(
        &self,
        wanted: &BTreeSet<RoomNid>,
        rooms: &mut RoomUpdates,
    ) -> Result<BTreeMap<RoomId, String>, DbError> {
        let from = self.from.map(|from| from.position);
        let mut events = BTreeMap::new();
        for nid in wanted {
            let Some(sent) = rooms.state.room(*nid) else { continue };
            let update = rooms.updates.get(nid);
            let is_whole = update.is_some_and(|update| update.initial || update.expanded);
            let since = from.and_then(|from| sent.receipts.since(from));
            if !is_whole && since.is_some() && sent.receipts == Progress::Live && !rooms.may_have_changed(*nid) {
                continue;
            }
            let mut receipts = Vec::new();
            if is_whole || since.is_none() {
                receipts = self.receipts_to_begin_with(*nid, update).await?;
            }
            if let Some(since) = since {
                let known: BTreeSet<Position> = receipts.iter().map(|receipt| receipt.position).collect();
                let new = self.receipts_since(*nid, since).await?;
                receipts.extend(new.into_iter().filter(|receipt| !known.contains(&receipt.position)));
            }
            if let Some((id, event)) = self.id(*nid).zip(receipt_event(&receipts, &self.context.request.user)) {
                events.insert(id, event);
            }
            let sent = SentRoom { receipts: Progress::Live, ..sent.clone() };
            rooms.set(sent);
        }
        self.mark_unsent_receipts(wanted, rooms);
        Ok(events)
    }

    async fn receipts_since(&self, nid: RoomNid, since: Position) -> Result<Vec<Arc<Receipt>>, DbError> {
        let upto = self.context.now.position;
        if let Some(found) = self.context.parts.receipts.in_memory(nid, since, upto) {
            return Ok(found);
        }
        let read = move |tx: &mut Tx<'_>| stored::in_rooms(tx, &[nid], since, upto);
        let found: Vec<Receipt> = self.context.parts.db.read(read).await?;
        Ok(found.into_iter().map(Arc::new).collect())
    }

    /// Returns the receipts for the events that the client is sent, and the user's own.
    async fn receipts_to_begin_with(
        &self,
        nid: RoomNid,
        update: Option<&RoomUpdate>,
    ) -> Result<Vec<Arc<Receipt>>, DbError> {
        let upto = self.context.now.position;
        let user = self.context.request.user.to_string();
        let timeline = update.and_then(|update| update.timeline.as_ref());
        let events = timeline.map(|timeline| &timeline.events[..]).unwrap_or_default();
        let after = events.iter().map(|event| event.position).min();
        let ids: Vec<String> = events.iter().map(|event| event.pdu.event_id().to_string()).collect();
        let read = move |tx: &mut Tx<'_>| {
            let mut found = stored::of_user_in_room(tx, nid, &user, upto)?;
            if let Some(after) = after {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                let others = stored::on_events(tx, nid, &ids, after, upto)?;
                found.extend(others.into_iter().filter(|receipt| receipt.user.as_str() != user));
            }
            Ok::<_, DbError>(found)
        };
        let found: Vec<Receipt> = self.context.parts.db.read(read).await?;
        Ok(found.into_iter().map(Arc::new).collect())
    }

    /// Notes of the rooms that are not asked for up to where the client has the receipts, where there are more.
    pub(super) fn mark_unsent_receipts(&self, wanted: &BTreeSet<RoomNid>, rooms: &mut RoomUpdates) {
        let Some(from) = self.from.map(|from| from.position) else { return };
        let index = self.context.parts.notifier.index();
        let is_behind = |sent: &&SentRoom| {
            sent.receipts == Progress::Live
                && !wanted.contains(&sent.nid)
                && rooms.may_have_changed(sent.nid)
                && (rooms.changed.is_none() || index.room(sent.nid).receipt > from)
        };
        let behind: Vec<SentRoom> = match &rooms.changed {
            Some(changed) => {
                changed.iter().filter_map(|nid| rooms.state.room(*nid)).filter(is_behind).cloned().collect()
            }
            None => rooms.state.rooms().filter(is_behind).cloned().collect(),
        };
        for sent in behind {
            rooms.set(SentRoom { receipts: Progress::Upto(from), ..sent });
        }
    }
}
