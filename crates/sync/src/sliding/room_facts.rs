//! What a list of rooms is made from, without the rooms themselves.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, RoomMembership, RoomView, timeline};
use plexus_store::repo::partial_joins;
use plexus_store::repo::room_overviews::{self, Overview};
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx};
use quick_cache::sync::Cache;
use serde::Deserialize;

use crate::delta::DeltaParts;
use crate::notifier::MaybeChanged;

/// The most rooms whose facts are in memory.
const MAX_ROOMS: usize = 200_000;
/// The most invites, knocks and ended memberships whose facts are in memory.
const MAX_OTHER_MEMBERSHIPS: usize = 50_000;
/// The most rooms that are read by one query.
const READ_AT_ONCE: usize = 2_000;
/// The longest part of a room's name that is compared, in characters: as long as what clients compare it with.
const MAX_NAME_CHARS: usize = 255;

/// What decides whether and where a room is in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoomFacts {
    pub id: RoomId,
    /// Position of the newest event that the user may see. The room's facts are those of this or a later position.
    pub activity: Position,
    /// `None`: not known.
    pub is_encrypted: Option<bool>,
    /// `None`: not known; `Some(None)`: a room without a type.
    pub room_type: Option<Option<Box<str>>>,
    /// The name, in lower case and shortened; empty if there is none. Of a room that the user is in it is read when it
    /// is needed.
    pub name: OnceLock<Box<str>>,
    /// Who sent the user's member event, where that matters.
    pub sender: Option<Box<str>>,
    /// Whether part of the state may be missing.
    pub is_partial: bool,
    /// The position since which no part of the state is missing; 0 if none ever was, or some still is.
    pub complete_from: Position,
    /// Whether the room is in lists; if not, only connections that have the room learn that the user has left it.
    pub is_listed: bool,
    read_at: Position,
}

/// Facts of rooms. Owned by this process: they are read again after a change.
pub(super) struct RoomFactsCache {
    joined: Cache<RoomNid, Arc<RoomFacts>>,
    /// Of rooms that the user is not in, by the user's member event, which decides what they are. `None`: a room that
    /// is in no list, because the user has left it or was never in it.
    others: Cache<EventNid, Option<Arc<RoomFacts>>>,
}

impl RoomFactsCache {
    pub(super) fn new() -> Self {
        Self { joined: Cache::new(MAX_ROOMS), others: Cache::new(MAX_OTHER_MEMBERSHIPS) }
    }

    /// Returns the facts of rooms that the user is in, in the order of `memberships`, without the rooms that cannot be
    /// read.
    pub(super) async fn joined(
        &self,
        parts: &DeltaParts,
        memberships: impl Iterator<Item = RoomMembership>,
    ) -> Result<Vec<(RoomMembership, Arc<RoomFacts>)>, DbError> {
        let (read_at, index) = (parts.db.committed(), parts.notifier.index());
        let (mut rooms, mut stored) = (Vec::new(), Vec::new());
        for membership in memberships {
            let nid = membership.room;
            let known = self.joined.get(&nid);
            // That a state has become complete is no event.
            let is_current = |facts: &Arc<RoomFacts>| {
                !facts.is_partial && index.event_after(nid, facts.read_at) == MaybeChanged::Known(false)
            };
            let known = known.filter(is_current);
            let facts = known.or_else(|| {
                let room = parts.rooms.loaded(nid)?;
                Some(self.keep(nid, of_view(&room, &room.view(), read_at)))
            });
            if facts.is_none() {
                stored.push(nid);
            }
            rooms.push((membership, facts));
        }
        let mut found = HashMap::new();
        for rooms in stored.chunks(READ_AT_ONCE) {
            let rooms = rooms.to_vec();
            let read = move |tx: &mut Tx<'_>| {
                let partial = partial_joins::completed_at(tx, &rooms)?;
                Ok::<_, DbError>((room_overviews::of(tx, &rooms)?, partial))
            };
            let (overviews, partial) = parts.db.read(read).await?;
            let completed_at: HashMap<RoomNid, Option<Position>> = partial.into_iter().collect();
            for overview in overviews {
                let nid = overview.room_nid;
                let completed_at = completed_at.get(&nid).copied().unwrap_or(Some(0));
                if let Some(facts) = of_overview(overview, completed_at, read_at) {
                    found.insert(nid, self.keep(nid, facts));
                }
            }
        }
        let facts = |(membership, facts): (RoomMembership, Option<_>)| {
            Some((membership, facts.or_else(|| found.remove(&membership.room))?))
        };
        Ok(rooms.into_iter().filter_map(facts).collect())
    }

    fn keep(&self, nid: RoomNid, facts: RoomFacts) -> Arc<RoomFacts> {
        let facts = Arc::new(facts);
        self.joined.insert(nid, Arc::clone(&facts));
        facts
    }

    /// Returns the facts of rooms that the user is not in. Of rooms that were left only those that `is_pending` names
    /// are there, and those from which somebody else removed the user.
    pub(super) async fn others(
        &self,
        parts: &DeltaParts,
        user: &UserId,
        memberships: Vec<RoomMembership>,
        is_pending: impl Fn(RoomNid) -> bool,
    ) -> Result<Vec<(RoomMembership, Arc<RoomFacts>)>, DbError> {
        let own_leaves = self.find_own_leaves(parts, user, &memberships).await?;
        let mut found = Vec::new();
        for membership in memberships {
            let nid = membership.room;
            let facts = match self.others.get(&membership.event_nid) {
                Some(Some(facts)) => facts,
                Some(None) if !is_pending(nid) => continue,
                None if own_leaves.contains(&membership.event_nid) && !is_pending(nid) => continue,
                known => {
                    let Some(room) = parts.rooms.get_readable_nid(nid).await? else { continue };
                    let mut facts = of_other(parts, user, &room, &membership).await?;
                    if known.is_none()
                        && !is_open(membership.kind)
                        && !own_leaves.contains(&membership.event_nid)
                        && let Some(until) = timeline::member_until(user, &room).await?
                    {
                        facts.is_listed = true;
                        facts.name = name_at(&room, until.min(membership.position)).await?.into();
                    }
                    let facts = Arc::new(facts);
                    let listed = facts.is_listed.then(|| Arc::clone(&facts));
                    self.others.insert(membership.event_nid, listed);
                    if !facts.is_listed && !is_pending(nid) {
                        continue;
                    }
                    facts
                }
            };
            found.push((membership, facts));
        }
        Ok(found)
    }

    /// Returns which of the leaves that are not in memory were the user's own, all in one query.
    async fn find_own_leaves(
        &self,
        parts: &DeltaParts,
        user: &UserId,
        memberships: &[RoomMembership],
    ) -> Result<HashSet<EventNid>, DbError> {
        let leaves = memberships.iter().filter(|membership| membership.kind == Membership::Leave);
        let unknown = leaves.map(|membership| membership.event_nid).filter(|nid| self.others.get(nid).is_none());
        let unknown: Vec<EventNid> = unknown.collect();
        if unknown.is_empty() {
            return Ok(HashSet::new());
        }
        let senders = parts.db.read(move |tx| room_overviews::senders(tx, &unknown)).await?;
        let is_own = |(event, sender): (EventNid, String)| (sender == user.as_str()).then_some(event);
        let own: HashSet<EventNid> = senders.into_iter().filter_map(is_own).collect();
        own.iter().for_each(|event| self.others.insert(*event, None));
        Ok(own)
    }
}

impl RoomFacts {
    /// Returns the name in lower case; empty if there is none, or it was not read.
    pub(super) fn name(&self) -> &str {
        self.name.get().map_or("", |name| name)
    }
}

/// Reads the names of rooms that are not in memory, all in one query.
pub(super) async fn read_names<'r>(
    parts: &DeltaParts,
    rooms: impl Iterator<Item = (RoomNid, &'r Arc<RoomFacts>)>,
) -> Result<(), DbError> {
    let mut stored: HashMap<RoomNid, &Arc<RoomFacts>> = HashMap::new();
    for (nid, facts) in rooms.filter(|(_, facts)| facts.name.get().is_none()) {
        match parts.rooms.loaded(nid) {
            Some(room) => {
                let view = room.view();
                facts.name.get_or_init(|| short_name(view.content_str("m.room.name", "name")));
            }
            None => drop(stored.insert(nid, facts)),
        }
    }
    let nids: Vec<RoomNid> = stored.keys().copied().collect();
    for nids in nids.chunks(READ_AT_ONCE) {
        let nids = nids.to_vec();
        for (nid, event) in parts.db.read(move |tx| room_overviews::names(tx, &nids)).await? {
            if let Some(facts) = stored.get(&nid) {
                facts.name.get_or_init(|| short_name(parse(&event).and_then(|event| event.content.name).as_deref()));
            }
        }
    }
    stored.values().for_each(|facts| _ = facts.name.get_or_init(Box::default));
    Ok(())
}

fn short_name(name: Option<&str>) -> Box<str> {
    name.unwrap_or_default().to_lowercase().chars().take(MAX_NAME_CHARS).collect::<String>().into()
}

/// Returns the name of a room at a position.
async fn name_at(room: &Room, position: Position) -> Result<Box<str>, DbError> {
    let event = timeline::state_event_at(room, position, "m.room.name", "").await?;
    Ok(short_name(event.as_ref().and_then(|event| event.pdu.content().get_str("name"))))
}

/// Whether the user may still come into the room by this membership.
fn is_open(kind: Membership) -> bool {
    matches!(kind, Membership::Invite | Membership::Knock)
}

fn of_view(room: &Room, view: &RoomView, read_at: Position) -> RoomFacts {
    RoomFacts {
        id: room.id.clone(),
        activity: view.position,
        is_encrypted: Some(view.is_encrypted()),
        room_type: Some(view.content_str("m.room.create", "type").map(Into::into)),
        name: OnceLock::new(),
        sender: None,
        is_partial: view.is_partial(),
        complete_from: view.visible_from(false).unwrap_or(0),
        is_listed: true,
        read_at,
    }
}

/// `completed_at`: see [`RoomFacts::complete_from`]; `None`: part of the state is missing.
fn of_overview(overview: Overview, completed_at: Option<Position>, read_at: Position) -> Option<RoomFacts> {
    let Overview { room_id, position, is_encrypted, create, .. } = overview;
    Some(RoomFacts {
        id: RoomId::try_from(room_id).ok()?,
        activity: position,
        is_encrypted: Some(is_encrypted),
        room_type: create.map(|create| parse(&create).and_then(|event| event.content.room_type)),
        name: OnceLock::new(),
        sender: None,
        is_partial: completed_at.is_none(),
        complete_from: completed_at.unwrap_or(0),
        is_listed: true,
        read_at,
    })
}

/// Returns the facts of a room that the user is not in, as of the user's member event.
async fn of_other(
    parts: &DeltaParts,
    user: &UserId,
    room: &Room,
    membership: &RoomMembership,
) -> Result<RoomFacts, DbError> {
    let mut facts = RoomFacts {
        id: room.id.clone(),
        activity: membership.position,
        is_encrypted: None,
        room_type: None,
        name: Box::<str>::default().into(),
        sender: None,
        is_partial: false,
        complete_from: 0,
        is_listed: is_open(membership.kind),
        read_at: membership.position,
    };
    match membership.kind {
        Membership::Invite | Membership::Knock => {
            let view = room.view();
            let Some(entry) = view.state.get("m.room.member", user.as_str()) else { return Ok(facts) };
            let Some(event) = room.readable_state_event(entry).await? else { return Ok(facts) };
            facts.sender = Some(event.pdu.sender().as_str().into());
            let stripped = parts.rooms.stripped_state(room, &event.pdu, None).await?;
            let stripped: Vec<Event> = stripped.iter().filter_map(|event| parse(event)).collect();
            let of_type = |event_type| stripped.iter().find(move |event| &*event.event_type == event_type);
            if let Some(create) = of_type("m.room.create") {
                facts.is_encrypted = Some(of_type("m.room.encryption").is_some());
                facts.room_type = Some(create.content.room_type.clone());
            }
            let name = of_type("m.room.name").and_then(|event| event.content.name.as_deref());
            facts.name = short_name(name).into();
        }
        Membership::Join | Membership::Leave | Membership::Ban => {
            let view = room.view();
            if view.state.get("m.room.create", "").is_some() {
                let encryption = timeline::state_event_at(room, membership.position, "m.room.encryption", "").await?;
                facts.is_encrypted = Some(encryption.is_some());
                facts.room_type = Some(view.content_str("m.room.create", "type").map(Into::into));
            }
        }
    }
    Ok(facts)
}

/// The parts of an event that matter here.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    event_type: Box<str>,
    #[serde(default)]
    content: Content,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(rename = "type", default)]
    room_type: Option<Box<str>>,
    #[serde(default)]
    name: Option<Box<str>>,
}

/// Parses an event; content of the wrong shape is as if it were not there.
fn parse(json: &str) -> Option<Event> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type", default)]
        event_type: Box<str>,
    }
    serde_json::from_str(json).ok().or_else(|| {
        let Typed { event_type } = serde_json::from_str(json).ok()?;
        Some(Event { event_type, content: Content::default() })
    })
}
