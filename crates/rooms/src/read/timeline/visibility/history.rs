//! The history visibility of a room and the membership of a user, over time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_protocol::visibility::{HistoryVisibility, StateForUser};
use plexus_store::repo::events::BareEvent;
use plexus_store::{Database, DbError, EventNid, Position, RoomNid, Tx, repo};

use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::stored_events;
use crate::model::timeline_event::TimelineEvent;

/// The position of an event in a timeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventPosition {
    pub(crate) nid: EventNid,
    pub(crate) position: Position,
}

impl EventPosition {
    pub(crate) fn of(event: &TimelineEvent) -> Self {
        Self { nid: event.nid, position: event.position }
    }
}

/// The changes of a room's history visibility and of a user's membership, oldest first.
pub(super) struct History {
    visibility: Vec<(Position, HistoryVisibility)>,
    membership: Vec<(Position, Membership)>,
    /// The last position at which the user was joined.
    pub(super) last_joined: Option<Position>,
}

impl History {
    /// Returns the history as far as it matters to events at `oldest` and later; `None` when the events in memory do
    /// not reach back that far.
    pub(super) fn in_memory(view: &RoomView, user: &UserId, oldest: Position) -> Option<Self> {
        if oldest <= view.recent_after || view.was_resolved_since(view.recent_after) {
            return None;
        }
        let visibility =
            changes(view, "m.room.history_visibility", "", view.history_visibility, HistoryVisibility::of)?;
        let now = view.state.membership(user.as_str()).unwrap_or(Membership::Leave);
        let membership = changes(view, "m.room.member", user.as_str(), now, |content| {
            let named = content.and_then(|content| content.get_str("membership"));
            named.and_then(Membership::parse).unwrap_or(Membership::Leave)
        })?;
        Some(Self { visibility, last_joined: last_joined(&membership), membership })
    }

    /// Reads the whole history from the database.
    pub(super) async fn read(room: &Room, user: &UserId) -> Result<Self, DbError> {
        let (nid, version, user) = (room.nid, room.version, user.clone());
        let now = room.view().state.get("m.room.member", user.as_str()).map(|entry| (entry.nid, entry.membership));
        room.db
            .read(move |tx| {
                let visibility = repo::current_state::history(tx, nid, "m.room.history_visibility", "")?;
                let membership = repo::current_state::history(tx, nid, "m.room.member", user.as_str())?;
                let events = events(tx, version, visibility.iter().chain(&membership).map(|(_, event)| *event))?;
                let visibility = visibility
                    .into_iter()
                    .map(|(at, event)| (at, visibility_of(events.get(&event).map(|event| &event.pdu))))
                    .collect();
                // The membership that an unreadable member event set is known only while the event is current.
                let unreadable = |event| match now {
                    Some((nid, kind)) if nid == event => kind,
                    _ => Some(Membership::Leave),
                };
                let kind = |event| match events.get(&event) {
                    Some(event) => Membership::of(&event.pdu),
                    None => unreadable(event),
                };
                let membership: Vec<_> =
                    membership.into_iter().filter_map(|(at, event)| Some((at, kind(event)?))).collect();
                Ok(Self { visibility, last_joined: last_joined(&membership), membership })
            })
            .await
    }

    /// Returns the state after the event at a position.
    pub(super) fn at(&self, position: Position) -> StateForUser {
        StateForUser {
            visibility: last_at(&self.visibility, position).unwrap_or_default(),
            membership: last_at(&self.membership, position),
        }
    }

    /// Whether the user was joined at any time after a position.
    pub(super) fn joined_later(&self, position: Position) -> bool {
        self.last_joined.is_some_and(|last| last >= position)
    }
}

/// Returns those of the rooms, none of which a user is joined to, that the user was joined to before. Does not load the
/// rooms.
///
/// # Errors
/// When the database fails.
pub async fn rooms_joined_before(
    db: &Database,
    user: &UserId,
    rooms: Vec<RoomNid>,
) -> Result<BTreeSet<RoomNid>, DbError> {
    if rooms.is_empty() {
        return Ok(BTreeSet::new());
    }
    let user = user.clone();
    db.read(move |tx| {
        let mut changes: HashMap<RoomNid, Vec<EventNid>> = HashMap::new();
        for (room, event) in repo::current_state::histories(tx, &rooms, "m.room.member", user.as_str())? {
            changes.entry(room).or_default().push(event);
        }
        // What came before the present membership is the join, in most rooms.
        let previous: Vec<EventNid> =
            changes.values().filter_map(|events| events.iter().nth_back(1).copied()).collect();
        let mut joined = rooms_of_joins(tx, &previous)?;
        changes.retain(|room, _| !joined.contains(room));
        let others: Vec<EventNid> = changes.into_values().flatten().collect();
        joined.extend(rooms_of_joins(tx, &others)?);
        Ok(joined)
    })
    .await
}

/// Returns the rooms of those of the member events that are joins.
fn rooms_of_joins(tx: &mut Tx<'_>, events: &[EventNid]) -> Result<BTreeSet<RoomNid>, DbError> {
    let rows = repo::events::bare_by_nids(tx, events)?;
    let is_join = |row: &BareEvent| {
        let event = row.json.as_ref().ok().and_then(|json| Object::parse(json).ok());
        let content = event.as_ref().and_then(|event| event.get_object("content"));
        content.and_then(|content| content.get_str("membership")) == Some(Membership::Join.as_str())
    };
    Ok(rows.iter().filter(|row| is_join(row)).map(|row| row.room_nid).collect())
}

/// Returns the values that a state has had since the oldest event in memory, oldest first; `None` when memory cannot
/// say. `now` is the present value; `parse` gets the content of the event, or `None` where no event sets the state.
fn changes<T>(
    view: &RoomView,
    event_type: &str,
    state_key: &str,
    now: T,
    parse: impl Fn(Option<&Object>) -> T,
) -> Option<Vec<(Position, T)>> {
    let events: Vec<_> = view.recent.iter().filter(|event| event.pdu.is_state(event_type, state_key)).collect();
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Some(vec![(view.recent_after, now)]);
    };
    // After a fork not every state event became the room's state: each must have replaced the one before it.
    let in_a_row = events.iter().zip(events.iter().skip(1)).all(|(before, after)| {
        after.replaced.as_ref().is_some_and(|replaced| replaced.event_id == *before.pdu.event_id())
    });
    if !in_a_row || view.event_nid(event_type, state_key) != Some(last.nid) {
        return None;
    }
    if first.replaced_unreadable {
        return None;
    }
    let before = first.replaced.as_ref().and_then(|replaced| Object::parse(&replaced.content_json).ok());
    let since = events.iter().map(|event| (event.position, parse(Some(event.pdu.content()))));
    Some(std::iter::once((view.recent_after, parse(before.as_ref()))).chain(since).collect())
}

/// Returns the position of the event that ended the user's last join; [`Position::MAX`] while the user is joined.
fn last_joined(membership: &[(Position, Membership)]) -> Option<Position> {
    let join = membership.iter().rposition(|(_, kind)| *kind == Membership::Join)?;
    Some(membership.get(join + 1).map_or(Position::MAX, |(ended, _)| *ended))
}

fn last_at<T: Copy>(history: &[(Position, T)], position: Position) -> Option<T> {
    let count = history.partition_point(|(at, _)| *at <= position);
    history.get(count.checked_sub(1)?).map(|(_, value)| *value)
}

/// Returns the visibility that an event sets; `None` stands for an unreadable event.
fn visibility_of(pdu: Option<&Pdu>) -> HistoryVisibility {
    pdu.map_or(stored_events::UNREADABLE_VISIBILITY, |pdu| HistoryVisibility::of(Some(pdu.content())))
}

fn events(
    tx: &mut Tx<'_>,
    version: RoomVersion,
    nids: impl Iterator<Item = EventNid>,
) -> Result<HashMap<EventNid, Arc<TimelineEvent>>, DbError> {
    let nids: Vec<EventNid> = nids.collect();
    Ok(stored_events::by_nids(tx, version, &nids)?.into_iter().map(|event| (event.nid, event)).collect())
}
