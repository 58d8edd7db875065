//! History visibility (<https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>).

mod history;
mod reader;
mod stored_states;

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::HistoryVisibility;
use plexus_store::{DbError, Position};

use self::history::History;
use self::reader::shows_erased;
use crate::model::room::Room;
use crate::model::timeline_event::TimelineEvent;

pub(crate) use history::EventPosition;
pub use history::rooms_joined_before;
pub(crate) use reader::ReaderVisibility;
pub use reader::{VisibleEvent, is_erased};

/// How far a user may read a room. [`visible`] decides about each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The user is joined: up to now.
    Joined,
    /// The user was joined, up to this position.
    Until(Position),
    /// The user is not joined, but the room is world readable.
    Peek,
}

impl Access {
    /// Returns the last position that the user may read; `room` is the room's last position.
    #[must_use]
    pub fn upto(self, room: Position) -> Position {
        match self {
            Self::Until(position) => position.min(room),
            Self::Joined | Self::Peek => room,
        }
    }
}

/// Returns how far the user may read the room; `None` when they may not read it at all.
///
/// # Errors
/// When the database fails.
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

/// Returns the events, all of the room's timeline, that the user may see, without the parts that the user may not see.
/// Members may see all that is sticky (MSC4354).
///
/// # Errors
/// When the database fails.
pub async fn visible(
    user: &UserId,
    room: &Room,
    mut events: Vec<Arc<TimelineEvent>>,
) -> Result<Vec<VisibleEvent>, DbError> {
    events.retain(|event| !event.is_dummy());
    let redactions = events.iter().filter_map(|event| event.redacted_because.as_ref());
    let positions = events.iter().chain(redactions).map(|event| EventPosition::of(event)).collect();
    let visibility = match ReaderVisibility::of(user, room, positions).await? {
        ReaderVisibility::Everything => {
            let membership = Membership::Join;
            return Ok(events.into_iter().map(|event| VisibleEvent { event, membership }).collect());
        }
        ReaderVisibility::Partial(visibility) => visibility,
    };
    let is_joined = room.view().state.membership(user.as_str()) == Some(Membership::Join);
    let shown = events.into_iter().filter_map(|event| {
        let shown = visibility.event(Arc::clone(&event), user);
        let sticky = || (is_joined && room.sticky.contains(room.nid, event.nid)).then(|| visibility.sticky(event));
        // A redacted event is not sticky, nor is one that is redacted for this reader.
        shown.or_else(|| sticky().filter(|sticky| sticky.event.pdu.sticky_duration_ms().is_some()))
    });
    Ok(shown.collect())
}

/// Returns state events without the redactions that the user may not see. The caller has checked that the user may see
/// the state.
///
/// # Errors
/// When the database fails.
pub async fn state_for(
    user: &UserId,
    room: &Room,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let redactions = events.iter().filter_map(|event| event.redacted_because.as_ref());
    let erased = events.iter().filter(|event| shows_erased(room, event));
    let positions = redactions.chain(erased).map(|event| EventPosition::of(event)).collect();
    match ReaderVisibility::of(user, room, positions).await? {
        ReaderVisibility::Everything => Ok(events),
        ReaderVisibility::Partial(visibility) => {
            let shown = |event| visibility.hide_erased(visibility.hide_redaction(event));
            Ok(events.into_iter().map(shown).collect())
        }
    }
}

/// Redacts the content of erased users in events that the user may see, if the user was not joined when it was sent.
///
/// # Errors
/// When the database fails.
pub async fn without_erased(
    user: &UserId,
    room: &Room,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let erased = events.iter().filter(|event| shows_erased(room, event));
    let positions = erased.map(|event| EventPosition::of(event)).collect();
    match ReaderVisibility::of(user, room, positions).await? {
        ReaderVisibility::Everything => Ok(events),
        ReaderVisibility::Partial(visibility) => {
            Ok(events.into_iter().map(|event| visibility.hide_erased(event)).collect())
        }
    }
}

/// Returns the position of the state that is shown to a reader who asks for the state at `at`; `None` when the reader
/// may not see that.
///
/// # Errors
/// When the database fails.
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
    // The state is visible if an event sent at that moment would be.
    let event = EventPosition { nid: 0, position: at };
    Ok(ReaderVisibility::of(user, room, vec![event]).await?.shows(event).then_some(at))
}

/// Returns the last position at which the user was joined to the room; `None` when they never were.
///
/// # Errors
/// When the database fails.
pub async fn member_until(user: &UserId, room: &Room) -> Result<Option<Position>, DbError> {
    Ok(History::read(room, user).await?.last_joined)
}
