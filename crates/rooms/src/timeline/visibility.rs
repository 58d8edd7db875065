//! History visibility (client-server API, "Room History Visibility").

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::{DbError, EventNid, Position, Tx, repo};

use super::past;
use crate::load;
use crate::membership_kind::MembershipKind;
use crate::room::{HistoryVisibility, Room, RoomView};
use crate::timeline_event::TimelineEvent;

/// An event its reader may see.
#[derive(Clone, Debug)]
pub struct VisibleEvent {
    /// The event.
    pub event: Arc<TimelineEvent>,
    /// The reader's membership at the event (`unsigned.membership`).
    pub membership: MembershipKind,
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
    if membership == Some(MembershipKind::Join) {
        return Ok(Some(Access::Joined));
    }
    if matches!(membership, Some(MembershipKind::Leave | MembershipKind::Ban))
        && let Some(last) = History::read(room, user).await?.last_joined
    {
        return Ok(Some(Access::Until(last)));
    }
    Ok((view.history_visibility == HistoryVisibility::WorldReadable).then_some(Access::Peek))
}

/// Of `events` (of the room's timeline) those the user may see, in their order.
pub async fn visible(
    user: &UserId,
    room: &Room,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<Vec<VisibleEvent>, DbError> {
    let view = room.view();
    let Some(oldest) = events.iter().map(|event| event.position).min() else { return Ok(Vec::new()) };
    if sees_all_since(room, &view, user, oldest).await? {
        let membership = MembershipKind::Join;
        return Ok(events.into_iter().map(|event| VisibleEvent { event, membership }).collect());
    }
    let history = match History::in_memory(&view, user, oldest) {
        Some(history) => history,
        None => History::read(room, user).await?,
    };
    let moments = past::moments(room, user, &events).await?;
    let seen = |event: Arc<TimelineEvent>| match moments.get(&event.nid) {
        // An event that changes what decides about it is seen by whom either side lets see it.
        Some(sides) => {
            let mut sides = sides.iter();
            let permits = |at: &past::Moment| history.permits(event.position, at.visibility, at.membership);
            let membership = sides.clone().next_back().map_or(MembershipKind::Leave, |after| after.membership);
            sides.any(permits).then_some(VisibleEvent { event, membership })
        }
        None => {
            let membership = history.membership_at(event.position);
            history.allows(&event, user).then_some(VisibleEvent { event, membership })
        }
    };
    Ok(events.into_iter().filter_map(seen).collect())
}

/// The common case, decided without the database: a member since before the oldest event, in a room that has always been
/// shared or world readable.
async fn sees_all_since(room: &Room, view: &RoomView, user: &UserId, oldest: Position) -> Result<bool, DbError> {
    let Some(member) = view.state.get("m.room.member", user.as_str()) else { return Ok(false) };
    if member.membership != Some(MembershipKind::Join) {
        return Ok(false);
    }
    let always_readable = match view.state.get("m.room.history_visibility", "").map(|entry| entry.event()) {
        None => true,
        Some(Some(event)) => {
            event.replaced.is_none()
                && matches!(view.history_visibility, HistoryVisibility::Shared | HistoryVisibility::WorldReadable)
        }
        Some(None) => false,
    };
    // What was before this server came into the room is decided by the state of then.
    Ok(always_readable && oldest > 0 && room.state_event(member).await?.position <= oldest)
}

/// How the room's history visibility and the user's membership came about, oldest first.
struct History {
    visibility: Vec<(Position, HistoryVisibility)>,
    membership: Vec<(Position, MembershipKind)>,
    /// The last position at which the user was a member.
    last_joined: Option<Position>,
}

impl History {
    /// As far as it decides about events at `oldest` and later; `None` when memory does not reach back to there.
    fn in_memory(view: &RoomView, user: &UserId, oldest: Position) -> Option<Self> {
        if oldest <= view.recent_after || view.merged_since(view.recent_after) {
            return None;
        }
        let visibility = changes(view, "m.room.history_visibility", "", view.history_visibility, |content| {
            HistoryVisibility::named(content.and_then(|content| content.get_str("history_visibility")))
        })?;
        let now = view.state.membership(user.as_str()).unwrap_or(MembershipKind::Leave);
        let membership = changes(view, "m.room.member", user.as_str(), now, |content| {
            let named = content.and_then(|content| content.get_str("membership"));
            named.and_then(MembershipKind::parse).unwrap_or(MembershipKind::Leave)
        })?;
        Some(Self { visibility, last_joined: last_joined(&membership), membership })
    }

    async fn read(room: &Room, user: &UserId) -> Result<Self, DbError> {
        let (nid, version, user) = (room.nid, room.version, user.clone());
        room.db
            .read(move |tx| {
                let visibility = repo::current_state::history(tx, nid, "m.room.history_visibility", "")?;
                let membership = repo::current_state::history(tx, nid, "m.room.member", user.as_str())?;
                let events = events(tx, version, visibility.iter().chain(&membership).map(|(_, event)| *event))?;
                let visibility = visibility
                    .into_iter()
                    .map(|(at, event)| (at, HistoryVisibility::of(events.get(&event).map(|event| &event.pdu))))
                    .collect();
                let membership: Vec<_> = membership
                    .into_iter()
                    .filter_map(|(at, event)| Some((at, MembershipKind::of(&events.get(&event)?.pdu)?)))
                    .collect();
                Ok(Self { visibility, last_joined: last_joined(&membership), membership })
            })
            .await
    }

    fn allows(&self, event: &TimelineEvent, user: &UserId) -> bool {
        let at = event.position;
        let pdu = &event.pdu;
        // An event that changes what decides about it is seen by whom either side lets see it.
        let of_visibility = pdu.is_state("m.room.history_visibility", "");
        let of_membership = pdu.is_state("m.room.member", user.as_str());
        self.permits(at, self.visibility_at(at), self.membership_at(at))
            || (of_visibility && self.permits(at, self.visibility_at(at - 1), self.membership_at(at)))
            || (of_membership && self.permits(at, self.visibility_at(at), self.membership_at(at - 1)))
    }

    fn permits(&self, at: Position, visibility: HistoryVisibility, membership: MembershipKind) -> bool {
        if membership == MembershipKind::Join {
            return true;
        }
        match visibility {
            HistoryVisibility::WorldReadable => true,
            HistoryVisibility::Shared => self.last_joined.is_some_and(|last| last >= at),
            HistoryVisibility::Invited => membership == MembershipKind::Invite,
            HistoryVisibility::Joined => false,
        }
    }

    fn visibility_at(&self, position: Position) -> HistoryVisibility {
        last_at(&self.visibility, position).unwrap_or_default()
    }

    fn membership_at(&self, position: Position) -> MembershipKind {
        last_at(&self.membership, position).unwrap_or(MembershipKind::Leave)
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
    let before = first.replaced.as_ref().and_then(|replaced| Object::parse(&replaced.content_json).ok());
    let since = events.iter().map(|event| (event.position, read(Some(event.pdu.content()))));
    Some(std::iter::once((view.recent_after, read(before.as_ref()))).chain(since).collect())
}

/// The last position at which a user with these memberships was joined: that of the event that ended it, or without end.
fn last_joined(membership: &[(Position, MembershipKind)]) -> Option<Position> {
    let join = membership.iter().rposition(|(_, kind)| *kind == MembershipKind::Join)?;
    Some(membership.get(join + 1).map_or(Position::MAX, |(ended, _)| *ended))
}

fn last_at<T: Copy>(history: &[(Position, T)], position: Position) -> Option<T> {
    let count = history.partition_point(|(at, _)| *at <= position);
    history.get(count.checked_sub(1)?).map(|(_, value)| *value)
}

fn events(
    tx: &mut Tx<'_>,
    version: plexus_protocol::rules::RoomVersion,
    nids: impl Iterator<Item = EventNid>,
) -> Result<HashMap<EventNid, Arc<TimelineEvent>>, DbError> {
    let nids: Vec<EventNid> = nids.collect();
    Ok(load::by_nids(tx, version, &nids)?.into_iter().map(|event| (event.nid, event)).collect())
}
