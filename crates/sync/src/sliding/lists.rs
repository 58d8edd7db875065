//! The rooms that a request is about: those in the ranges of its lists, and those with a subscription.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::membership::Membership;
use plexus_rooms::timeline;
use plexus_store::{DbError, RoomNid};

use super::known_rooms::{KnownRoom, KnownRooms};
use super::labels::Labels;
use super::request::{List, ListFilters, RoomConfig, SlidingRequest};
use super::room_facts;
use crate::delta::context::Context;

/// A room that the response is about.
#[derive(Debug, Clone)]
pub(super) struct RelevantRoom {
    pub known: KnownRoom,
    /// What is wanted of it, by all lists and its subscription together.
    pub config: RoomConfig,
    /// The lists in whose ranges the room is.
    pub lists: Vec<String>,
    pub is_subscribed: bool,
}

/// The rooms that the lists and subscriptions of a request select.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// How many rooms are in each list, whatever its ranges.
    pub counts: BTreeMap<String, usize>,
    pub rooms: BTreeMap<RoomNid, RelevantRoom>,
    /// The rooms in all lists, whatever their ranges, where an extension asks for them.
    pub listed: HashSet<RoomNid>,
}

/// The rooms of the user by id.
type RoomsById<'k> = HashMap<&'k str, &'k KnownRoom>;

/// Combines what is wanted of rooms; each combination is made once.
#[derive(Default)]
struct Combiner(HashMap<(usize, u32, usize, u32), RoomConfig>);

impl Combiner {
    fn combine(&mut self, first: &RoomConfig, second: &RoomConfig) -> RoomConfig {
        let address = |config: &RoomConfig| Arc::as_ptr(&config.required_state).addr();
        let key = (address(first), first.timeline_limit, address(second), second.timeline_limit);
        let make = || RoomConfig {
            timeline_limit: first.timeline_limit.max(second.timeline_limit),
            required_state: Arc::new(first.required_state.union(&second.required_state)),
        };
        self.0.entry(key).or_insert_with(make).clone()
    }
}

/// Selects the rooms that a response is about.
pub(super) async fn select(
    context: &Context<'_>,
    request: &SlidingRequest,
    known: &KnownRooms,
    labels: &Labels,
) -> Result<Selection, DbError> {
    let mut selection = Selection::default();
    let mut combiner = Combiner::default();
    let needs_ids =
        !request.subscriptions.is_empty() || request.lists.values().any(|list| list.filters.spaces.is_some());
    let by_id: RoomsById<'_> =
        if needs_ids { known.iter().map(|room| (room.facts.id.as_str(), room)).collect() } else { HashMap::new() };
    let mut spaces = Spaces { context, rooms: &by_id, children: HashMap::new() };
    for (name, list) in &request.lists {
        let filter = Filter::new(&list.filters, labels, &mut spaces).await?;
        if filter.name_part.is_some() {
            let rooms = known.iter().map(|room| (room.membership.room, &room.facts));
            room_facts::read_names(context.parts, rooms).await?;
        }
        let mut rooms: Vec<&KnownRoom> = Vec::new();
        for room in known.iter() {
            if is_shown(context, room, &list.config).await? && filter.passes(room) {
                rooms.push(room);
            }
        }
        selection.counts.insert(name.clone(), rooms.len());
        if request.extensions.sticky_events.is_some() {
            selection.listed.extend(rooms.iter().map(|room| room.membership.room));
        }
        for room in in_ranges(rooms, list) {
            selection.add(&mut combiner, room, &list.config).lists.push(name.clone());
        }
    }
    for (id, config) in &request.subscriptions {
        if let Some(room) = by_id.get(id.as_str())
            && is_shown(context, room, config).await?
        {
            selection.add(&mut combiner, room, config).is_subscribed = true;
        }
    }
    Ok(selection)
}

impl Selection {
    fn add(&mut self, combiner: &mut Combiner, room: &KnownRoom, config: &RoomConfig) -> &mut RelevantRoom {
        let add = |relevant: &mut RelevantRoom| relevant.config = combiner.combine(&relevant.config, config);
        self.rooms.entry(room.membership.room).and_modify(add).or_insert_with(|| RelevantRoom {
            known: room.clone(),
            config: config.clone(),
            lists: Vec::new(),
            is_subscribed: false,
        })
    }
}

/// Whether enough of the room's state is there for what is wanted of it.
async fn is_shown(context: &Context<'_>, room: &KnownRoom, config: &RoomConfig) -> Result<bool, DbError> {
    if !room.facts.is_partial || room.membership.kind != Membership::Join {
        return Ok(true);
    }
    let rooms = &context.parts.rooms;
    let lazily = config.required_state.can_do_without_remote_members(rooms.server_name().as_str());
    let Some(room) = rooms.get_readable_nid(room.membership.room).await? else { return Ok(false) };
    Ok(room.view().visible_from(lazily).is_some_and(|from| from <= context.now.position))
}

/// Returns the rooms in the ranges of a list; the newest activity comes first.
fn in_ranges<'r>(mut rooms: Vec<&'r KnownRoom>, list: &List) -> Vec<&'r KnownRoom> {
    let Some(ranges) = &list.ranges else { return rooms };
    let end = ranges.iter().map(|(_, last)| last.saturating_add(1)).max().unwrap_or(0).min(rooms.len());
    let order = |room: &&KnownRoom| (std::cmp::Reverse(room.activity()), room.membership.room);
    if end > 0 && end < rooms.len() {
        rooms.select_nth_unstable_by_key(end - 1, order);
        rooms.truncate(end);
    }
    rooms.truncate(end);
    rooms.sort_unstable_by_key(order);
    let is_wanted = |at: usize| ranges.iter().any(|(first, last)| (*first..=*last).contains(&at));
    rooms.into_iter().enumerate().filter(|(at, _)| is_wanted(*at)).map(|(_, room)| room).collect()
}

/// The filters of a list, ready to be asked about every room.
struct Filter<'f> {
    filters: &'f ListFilters,
    labels: &'f Labels,
    /// The rooms in the spaces that the list is about.
    in_spaces: Option<HashSet<Arc<str>>>,
    /// In lower case.
    name_part: Option<String>,
}

impl<'f> Filter<'f> {
    async fn new(filters: &'f ListFilters, labels: &'f Labels, spaces: &mut Spaces<'_, 'f>) -> Result<Self, DbError> {
        let in_spaces = match &filters.spaces {
            Some(named) => Some(spaces.children(named).await?),
            None => None,
        };
        let name_part = filters.room_name_like.as_deref().map(str::to_lowercase);
        Ok(Self { filters, labels, in_spaces, name_part })
    }

    fn passes(&self, room: &KnownRoom) -> bool {
        let nid = room.membership.room;
        let Self { filters, labels, in_spaces, .. } = self;
        let is = |wanted: Option<bool>, actual: bool| wanted.is_none_or(|wanted| wanted == actual);
        let has_tag =
            |tags: &[String]| labels.tags.get(&nid).is_some_and(|own| tags.iter().any(|tag| own.contains(tag)));
        is(filters.is_dm, labels.direct.contains(&nid))
            && is(filters.is_invite, room.membership.kind == Membership::Invite)
            && filters.is_encrypted.is_none_or(|wanted| room.facts.is_encrypted == Some(wanted))
            && self.passes_types(room)
            && in_spaces.as_ref().is_none_or(|rooms| rooms.contains(room.facts.id.as_str()))
            && filters.tags.as_ref().is_none_or(|tags| has_tag(tags))
            && !filters.not_tags.as_ref().is_some_and(|tags| has_tag(tags))
            && self.name_part.as_ref().is_none_or(|part| room.facts.name().contains(part))
    }

    fn passes_types(&self, room: &KnownRoom) -> bool {
        let ListFilters { room_types, not_room_types, .. } = self.filters;
        if room_types.is_none() && not_room_types.is_none() {
            return true;
        }
        let Some(room_type) = &room.facts.room_type else { return false };
        let has = |types: &Vec<Option<String>>| types.iter().any(|other| other.as_deref() == room_type.as_deref());
        room_types.as_ref().is_none_or(has) && !not_room_types.as_ref().is_some_and(has)
    }
}

/// The children of the spaces that a request names, each of which is read once.
struct Spaces<'s, 'f> {
    context: &'s Context<'s>,
    rooms: &'s RoomsById<'s>,
    children: HashMap<&'f str, Vec<Arc<str>>>,
}

impl<'f> Spaces<'_, 'f> {
    /// Returns the ids of the rooms that are children of spaces which the user is in.
    async fn children(&mut self, spaces: &'f [String]) -> Result<HashSet<Arc<str>>, DbError> {
        let spaces: HashSet<&str> = spaces.iter().map(String::as_str).collect();
        let mut found = HashSet::new();
        for space in spaces {
            if !self.children.contains_key(space) {
                let children = self.read(space).await?;
                self.children.insert(space, children);
            }
            found.extend(self.children.get(space).into_iter().flatten().cloned());
        }
        Ok(found)
    }

    async fn read(&self, space: &str) -> Result<Vec<Arc<str>>, DbError> {
        let space = self.rooms.get(space).filter(|space| space.membership.kind == Membership::Join);
        let Some(nid) = space.map(|space| space.membership.room) else { return Ok(Vec::new()) };
        let Some(room) = self.context.parts.rooms.get_readable_nid(nid).await? else { return Ok(Vec::new()) };
        let entries: Vec<_> = room.view().state.of_type("m.space.child").cloned().collect();
        let events = timeline::state_events(&room, &entries).await?;
        // A child without `via` is no child any more.
        let children = events.iter().filter(|event| event.pdu.content().get_array("via").is_some());
        Ok(children.filter_map(|event| event.pdu.state_key().map(Into::into)).collect())
    }
}
