//! Which rooms are searched.

use std::collections::{BTreeSet, HashSet};

use plexus_protocol::id::RoomId;
use plexus_protocol::membership::Membership;
use plexus_rooms::actions::upgrade::successor::predecessor;
use plexus_rooms::{UserRooms, timeline};
use plexus_store::repo::rooms;
use plexus_store::{DbError, RoomNid};
use plexus_sync::filter::RoomEventFilter;

use super::query::SearchTurn;

/// How many predecessors of a room are followed.
const MAX_PREDECESSORS: usize = 16;

impl SearchTurn<'_> {
    /// Returns the rooms that the user searches: rooms that they are in or have left. If the filter names rooms, only
    /// these and their predecessors. The index is not asked about rooms that the user may not read: the time that it
    /// takes would show what is said there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rooms(&self, filter: &RoomEventFilter) -> Result<Vec<RoomNid>, DbError> {
        let memberships = self.search.rooms.memberships().of(self.user).await?;
        let named = match &filter.rooms {
            Some(ids) => Some(self.numbers(ids).await?),
            None => None,
        };
        let excluded = self.numbers(&filter.not_rooms).await?;
        let wanted = |room: RoomNid| named.as_ref().is_none_or(|named| named.contains(&room));
        let (mut own, mut left) = (BTreeSet::new(), Vec::new());
        for membership in memberships.iter().filter(|own| wanted(own.room) && !own.forgotten) {
            match membership.kind {
                Membership::Join => _ = own.insert(membership.room),
                Membership::Leave | Membership::Ban => left.push(membership.room),
                Membership::Invite | Membership::Knock => {}
            }
        }
        own.extend(timeline::rooms_joined_before(&self.search.rooms.db, self.user, left).await?);
        if named.is_some() {
            self.add_predecessors(&mut own, &memberships).await?;
        }
        Ok(own.into_iter().filter(|room| !excluded.contains(room)).collect())
    }

    async fn add_predecessors(&self, found: &mut BTreeSet<RoomNid>, memberships: &UserRooms) -> Result<(), DbError> {
        for nid in found.clone() {
            let Some(mut newest) = self.search.rooms.get_readable_nid(nid).await? else { continue };
            for _ in 0..MAX_PREDECESSORS {
                let Some(old) = predecessor(&self.search.rooms, &newest).await? else { break };
                let forgotten = memberships.get(old.nid).is_some_and(|own| own.forgotten);
                if !forgotten && timeline::access(&old, self.user).await?.is_some() {
                    found.insert(old.nid);
                }
                newest = old;
            }
        }
        Ok(())
    }

    /// Returns the numbers of the rooms with these ids that this server knows, without loading the rooms.
    async fn numbers(&self, ids: &[String]) -> Result<HashSet<RoomNid>, DbError> {
        let ids: Vec<RoomId> = ids.iter().filter_map(|id| RoomId::try_from(id.as_str()).ok()).collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let read = self.search.rooms.db.read(move |tx| {
            let ids: Vec<&str> = ids.iter().map(RoomId::as_str).collect();
            rooms::nids(tx, &ids)
        });
        Ok(read.await?.into_iter().map(|(_, nid)| nid).collect())
    }
}
