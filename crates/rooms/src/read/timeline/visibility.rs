//! History visibility (client-server API, "Room History Visibility").

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::{HistoryVisibility, StateForUser, is_visible};
use plexus_store::{DbError, EventNid, Position, Tx, repo};

use super::past::{self, Moments};
use crate::model::room::{Room, RoomView};
use crate::model::stored_events;
use crate::model::timeline_event::{Replaced, TimelineEvent};

/// An event its reader may see.
#[derive(Clone, Debug)]
pub struct VisibleEvent {
    /// The event.
    pub event: Arc<TimelineEvent>,
    /// The reader's membership at the event (`unsigned.membership`).
    pub membership: Membership,
}

/// How far a user may read a room at all. Which events exactly is for [`visible`] to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A member: up to now.
    Joined,
    /// Was a member, up to this position.
    Until(Position),
    /// No member, but the room is world readable.
    Peek,
}

impl Access {
    /// The last position that may be read, given that of the room.
    #[must_use]
    pub fn upto(self, room: Position) -> Position {
        match self {
            Self::Until(position) => position.min(room),
            Self::Joined | Self::Peek => room,
        }
    }
}

/// Whether and how far the user may read the room; `None`: not at all.
pub async fn access(room: &Room, user: &UserId) -> Result<Option<Access>, DbError> {
    let view = room.view();
    let membership = view.state.membership(user.as_str());
    if membership == Some(Membership::Join) {
        return Ok(Some(Access::Joined));
    }
    if matches!(membership, Some(Membership::Leave | Membership::Ban))
        && let Some(last) = History::read(room, user).await?.last_joined
    {
        return Ok(Some(Access::Until(last)));
    }
    Ok((view.history_visibility == HistoryVisibility::WorldReadable).then_some(Access::Peek))
}

/// Of `events` (of the room's timeline) those the user may see, in their order, with what they may see of each.
pub async fn visible(
    user: &UserId,
    room: &Room,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<Vec<VisibleEvent>, DbError> {
    let redactions = events.iter().filter_map(|event| event.redacted_because.as_ref());
    let places = events.iter().chain(redactions).map(|event| Place::of(event)).collect();
    let sight = match Sight::of(user, room, places).await? {
        Sight::Everything => {
            let membership = Membership::Join;
            return Ok(events.into_iter().map(|event| VisibleEvent { event, membership }).collect());
        }
        Sight::Partial(sight) => sight,
    };
    Ok(events.into_iter().filter_map(|event| sight.event(event, user)).collect())
}

/// State events as the user may be shown them: without what the redactions say that the user may not see. Whether the
/// user may see the state is for the caller to know.
pub async fn state_for(
    user: &UserId,
    room: &Room,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let redactions = events.iter().filter_map(|event| event.redacted_because.as_ref());
    let erased = events.iter().filter(|event| shows_erased(room, event));
    match Sight::of(user, room, redactions.chain(erased).map(|event| Place::of(event)).collect()).await? {
        Sight::Everything => Ok(events),
        Sight::Partial(sight) => {
            let shown = |event| sight.hide_erased(sight.redaction_hidden(event));
            Ok(events.into_iter().map(shown).collect())
        }
    }
}

/// Redacts what erased users sent when the user was not in the room, in events that the user may see.
pub(crate) async fn without_erased(
    user: &UserId,
    room: &Room,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let places = events.iter().filter(|event| shows_erased(room, event)).map(|event| Place::of(event)).collect();
    match Sight::of(user, room, places).await? {
        Sight::Everything => Ok(events),
        Sight::Partial(sight) => Ok(events.into_iter().map(|event| sight.hide_erased(event)).collect()),
    }
}

/// Whether the event shows anything that an erased user has sent.
fn shows_erased(room: &Room, event: &TimelineEvent) -> bool {
    let replaced = event.replaced.as_ref().map(|replaced| &replaced.sender);
    let redaction = event.redacted_because.as_ref().map(|redaction| redaction.pdu.sender());
    let senders = [Some(event.pdu.sender()), replaced, redaction];
    senders.into_iter().flatten().any(|sender| room.erased.contains(sender.as_str()))
}

/// Whether an event of an erased user is hidden from those who were not in the room when it was sent (client-server
/// API, `POST /account/deactivate`). What the room is now, such as its name or that it is encrypted, is shown to all
/// its members.
pub fn is_erased(room: &Room, nid: EventNid, pdu: &Pdu) -> bool {
    if !room.erased.contains(pdu.sender().as_str()) {
        return false;
    }
    let is_current = |key: &str| room.view().event_nid(pdu.event_type(), key) == Some(nid);
    pdu.event_type() == "m.room.member" || !pdu.state_key().is_some_and(is_current)
}

/// Where the state stood that a reader may be shown who names the position `at`; `None`: the reader may not see that.
pub async fn state_position(
    user: &UserId,
    room: &Room,
    access: Access,
    at: Position,
) -> Result<Option<Position>, DbError> {
    let last = access.upto(room.view().position);
    if at >= last {
        return Ok(Some(last));
    }
    // As an event would be seen that had been sent at that moment.
    let place = Place { nid: 0, position: at };
    Ok(Sight::of(user, room, vec![place]).await?.shows(place).then_some(at))
}

/// The last position at which the user was a member of the room; `None` when they never were.
pub async fn member_until(user: &UserId, room: &Room) -> Result<Option<Position>, DbError> {
    Ok(History::read(room, user).await?.last_joined)
}

/// Where an event is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub nid: EventNid,
    pub position: Position,
}

impl Place {
    fn of(event: &TimelineEvent) -> Self {
        Self { nid: event.nid, position: event.position }
    }
}

/// What a user may see of certain places of a room's history. Events and everything that is shown with them go by it.
pub(crate) enum Sight<'r> {
    Everything,
    Partial(PartialSight<'r>),
}

/// What decides when it is not everything.
pub(crate) struct PartialSight<'r> {
    room: &'r Room,
    history: History,
    /// For the events that were fetched later.
    moments: Moments,
}

impl<'r> Sight<'r> {
    /// What the user may see of these places.
    pub async fn of(user: &UserId, room: &'r Room, places: Vec<Place>) -> Result<Self, DbError> {
        let Some(oldest) = places.iter().map(|place| place.position).min() else { return Ok(Self::Everything) };
        let view = room.view();
        if sees_all_since(room, &view, user, oldest).await? {
            return Ok(Self::Everything);
        }
        let history = match History::in_memory(&view, user, oldest) {
            Some(history) => history,
            None => History::read(room, user).await?,
        };
        let moments = past::moments(room, user, &places).await?;
        Ok(Self::Partial(PartialSight { room, history, moments }))
    }

    /// Whether the user sees an event there that changes neither the history visibility nor the user's membership.
    pub fn shows(&self, place: Place) -> bool {
        match self {
            Self::Everything => true,
            Self::Partial(sight) => sight.shows(place),
        }
    }
}

impl PartialSight<'_> {
    fn shows(&self, place: Place) -> bool {
        let [before, after] = self.moments.get(&place.nid).copied().unwrap_or_else(|| {
            let at = self.history.at(place.position);
            [at, at]
        });
        is_visible(before, after, self.history.joined_later(place.position))
    }

    /// What the user may see of an event, if they may see it.
    fn event(&self, event: Arc<TimelineEvent>, user: &UserId) -> Option<VisibleEvent> {
        let (history, at) = (&self.history, event.position);
        let is_own = event.pdu.is_state("m.room.member", user.as_str());
        let [before, after] = self.moments.get(&event.nid).copied().unwrap_or_else(|| {
            let (mut before, after, earlier) = (history.at(at), history.at(at), history.at(at - 1));
            if event.pdu.is_state("m.room.history_visibility", "") {
                before.visibility = earlier.visibility;
            }
            if is_own {
                before.membership = earlier.membership;
            }
            [before, after]
        });
        let joined_later = history.joined_later(at);
        if !is_visible(before, after, joined_later) {
            return None;
        }
        let membership = after.membership.unwrap_or(Membership::Leave);
        // Who is invited sees what happens from then on, not the state of the room.
        let uninvited = |state: StateForUser| StateForUser {
            membership: state.membership.filter(|membership| *membership != Membership::Invite),
            ..state
        };
        let sees_state = is_own || is_visible(uninvited(before), uninvited(after), joined_later);
        let event = match event.replaced {
            Some(_) if !sees_state => Arc::new(event.with_replaced_hidden()),
            _ => event,
        };
        Some(VisibleEvent { event: self.hide_erased(self.redaction_hidden(event)), membership })
    }

    /// Redacts what erased users have sent in the event, and in its redaction, unless the reader was in the room when
    /// it was sent. Who was in the room then saw what the event replaced as the room's state.
    fn hide_erased(&self, event: Arc<TimelineEvent>) -> Arc<TimelineEvent> {
        if !shows_erased(self.room, &event) {
            return event;
        }
        let is_hidden =
            |event: &TimelineEvent| is_erased(self.room, event.nid, &event.pdu) && !self.was_joined(Place::of(event));
        let mut shown = TimelineEvent::clone(&event);
        if is_hidden(&event) {
            shown.pdu = redact::redact(&event.pdu);
        }
        let is_of_erased = |replaced: &Replaced| self.room.erased.contains(replaced.sender.as_str());
        if event.replaced.as_deref().is_some_and(is_of_erased) && !self.was_joined(Place::of(&event)) {
            shown = shown.with_replaced_hidden();
        }
        if event.redacted_because.as_deref().is_some_and(is_hidden) {
            Arc::new(shown.with_redaction_hidden())
        } else {
            Arc::new(shown)
        }
    }

    /// Whether the reader was in the room before or after an event there.
    fn was_joined(&self, place: Place) -> bool {
        let at = || [self.history.at(place.position - 1), self.history.at(place.position)];
        let sides = self.moments.get(&place.nid).copied().unwrap_or_else(at);
        sides.iter().any(|state| state.membership == Some(Membership::Join))
    }

    /// The event, and of its redaction no more than the user may see.
    fn redaction_hidden(&self, event: Arc<TimelineEvent>) -> Arc<TimelineEvent> {
        match &event.redacted_because {
            Some(redaction) if !self.shows(Place::of(redaction)) => Arc::new(event.with_redaction_hidden()),
            _ => event,
        }
    }
}

/// The common case, decided without the database: a member since before the oldest event, in a room that has always been
/// shared or world readable.
async fn sees_all_since(room: &Room, view: &RoomView, user: &UserId, oldest: Position) -> Result<bool, DbError> {
    let Some(member) = view.state.get("m.room.member", user.as_str()) else { return Ok(false) };
    if member.membership != Some(Membership::Join) {
        return Ok(false);
    }
    let always_readable = match view.state.get("m.room.history_visibility", "") {
        None => true,
        Some(entry) => {
            matches!(view.history_visibility, HistoryVisibility::Shared | HistoryVisibility::WorldReadable)
                && is_first(&*room.state_event(entry).await?)
        }
    };
    // What was before this server came into the room is decided by the state of then.
    Ok(always_readable && oldest > 0 && room.state_event(member).await?.position <= oldest)
}

/// Whether a state event replaced none.
fn is_first(event: &TimelineEvent) -> bool {
    event.replaced.is_none() && !event.replaced_unreadable
}

/// How the room's history visibility and the user's membership came about, oldest first.
struct History {
    visibility: Vec<(Position, HistoryVisibility)>,
    membership: Vec<(Position, Membership)>,
    /// The last position at which the user was a member.
    last_joined: Option<Position>,
}

impl History {
    /// As far as it decides about events at `oldest` and later; `None` when memory does not reach back to there.
    fn in_memory(view: &RoomView, user: &UserId, oldest: Position) -> Option<Self> {
        if oldest <= view.recent_after || view.merged_since(view.recent_after) {
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

    async fn read(room: &Room, user: &UserId) -> Result<Self, DbError> {
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
                // What a member event that cannot be read has made of the user is known only while it is the current
                // one.
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

    /// What decides about an event at a position, once that has taken effect.
    fn at(&self, position: Position) -> StateForUser {
        StateForUser {
            visibility: last_at(&self.visibility, position).unwrap_or_default(),
            membership: last_at(&self.membership, position),
        }
    }

    /// Whether the user was a member after a position.
    fn joined_later(&self, position: Position) -> bool {
        self.last_joined.is_some_and(|last| last >= position)
    }
}

/// What a state has been since the newest events in memory began, oldest first. `now`: what it is; `read` reads it from a
/// content, `None` for that of a state which was not set.
fn changes<T>(
    view: &RoomView,
    event_type: &str,
    state_key: &str,
    now: T,
    read: impl Fn(Option<&Object>) -> T,
) -> Option<Vec<(Position, T)>> {
    let events: Vec<_> = view.recent.iter().filter(|event| event.pdu.is_state(event_type, state_key)).collect();
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Some(vec![(view.recent_after, now)]);
    };
    // Where branches met, not every event has become the room's state: each must have replaced the one before it.
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
    let since = events.iter().map(|event| (event.position, read(Some(event.pdu.content()))));
    Some(std::iter::once((view.recent_after, read(before.as_ref()))).chain(since).collect())
}

/// The last position at which a user with these memberships was joined: that of the event that ended it, or without end.
fn last_joined(membership: &[(Position, Membership)]) -> Option<Position> {
    let join = membership.iter().rposition(|(_, kind)| *kind == Membership::Join)?;
    Some(membership.get(join + 1).map_or(Position::MAX, |(ended, _)| *ended))
}

fn last_at<T: Copy>(history: &[(Position, T)], position: Position) -> Option<T> {
    let count = history.partition_point(|(at, _)| *at <= position);
    history.get(count.checked_sub(1)?).map(|(_, value)| *value)
}

/// What an event sets, if it can be read.
fn visibility_of(pdu: Option<&Pdu>) -> HistoryVisibility {
    pdu.map_or(stored_events::UNREADABLE_VISIBILITY, |pdu| HistoryVisibility::of(Some(pdu.content())))
}

fn events(
    tx: &mut Tx<'_>,
    version: plexus_protocol::rules::RoomVersion,
    nids: impl Iterator<Item = EventNid>,
) -> Result<HashMap<EventNid, Arc<TimelineEvent>>, DbError> {
    let nids: Vec<EventNid> = nids.collect();
    Ok(stored_events::by_nids(tx, version, &nids)?.into_iter().map(|event| (event.nid, event)).collect())
}
