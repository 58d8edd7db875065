//! The events of a room that a user may see, and how much of each.

use std::sync::Arc;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::{HistoryVisibility, StateForUser, is_visible};
use plexus_store::{DbError, EventNid, Position};

use super::history::{EventPosition, History};
use super::stored_states::{self, StatesAround};
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::timeline_event::{Replaced, TimelineEvent};

/// An event that its reader may see.
#[derive(Clone, Debug)]
pub struct VisibleEvent {
    /// The event.
    pub event: Arc<TimelineEvent>,
    /// The reader's membership at the event (`unsigned.membership`).
    pub membership: Membership,
}

/// The part of a room's history that a user may see, as far as some events are concerned.
pub(crate) enum ReaderVisibility<'r> {
    /// All of the events, and everything that they show of others.
    Everything,
    /// The visibility of each event has to be decided.
    Partial(PartialVisibility<'r>),
}

/// The facts that decide which events a user may see.
pub(crate) struct PartialVisibility<'r> {
    room: &'r Room,
    history: History,
    /// The states around backfilled events.
    stored: StatesAround,
}

impl<'r> ReaderVisibility<'r> {
    /// Returns what the user may see of these events.
    pub(crate) async fn of(user: &UserId, room: &'r Room, events: Vec<EventPosition>) -> Result<Self, DbError> {
        let Some(oldest) = events.iter().map(|event| event.position).min() else { return Ok(Self::Everything) };
        let view = room.view();
        if sees_all_since(room, &view, user, oldest).await? {
            return Ok(Self::Everything);
        }
        let history = match History::in_memory(&view, user, oldest) {
            Some(history) => history,
            None => History::read(room, user).await?,
        };
        let stored = stored_states::read(room, user, &events).await?;
        Ok(Self::Partial(PartialVisibility { room, history, stored }))
    }

    /// Whether the user may see an event that changes neither the history visibility nor the user's membership.
    pub(crate) fn shows(&self, event: EventPosition) -> bool {
        match self {
            Self::Everything => true,
            Self::Partial(visibility) => visibility.shows(event),
        }
    }
}

impl PartialVisibility<'_> {
    fn shows(&self, event: EventPosition) -> bool {
        let [before, after] = self.stored.get(&event.nid).copied().unwrap_or_else(|| {
            let at = self.history.at(event.position);
            [at, at]
        });
        is_visible(before, after, self.history.joined_later(event.position))
    }

    /// Returns an event without the parts that the user may not see; `None` when the user may not see it at all.
    pub(super) fn event(&self, event: Arc<TimelineEvent>, user: &UserId) -> Option<VisibleEvent> {
        let (history, at) = (&self.history, event.position);
        let is_own = event.pdu.is_state("m.room.member", user.as_str());
        let [before, after] = self.stored.get(&event.nid).copied().unwrap_or_else(|| {
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
        // Invited users see events since their invite, but not the room's earlier state.
        let uninvited = |state: StateForUser| StateForUser {
            membership: state.membership.filter(|membership| *membership != Membership::Invite),
            ..state
        };
        let sees_state = is_own || is_visible(uninvited(before), uninvited(after), joined_later);
        let event = match event.replaced {
            Some(_) if !sees_state => Arc::new(event.with_replaced_hidden()),
            _ => event,
        };
        Some(VisibleEvent { event: self.hide_erased(self.hide_redaction(event)), membership })
    }

    /// Returns an event that the user may see only because it is sticky, without the parts of others that the user may
    /// not see.
    pub(super) fn sticky(&self, event: Arc<TimelineEvent>) -> VisibleEvent {
        let at = || self.history.at(event.position);
        let after = self.stored.get(&event.nid).map_or_else(at, |[_, after]| *after);
        let membership = after.membership.unwrap_or(Membership::Leave);
        let event = if event.replaced.is_some() { Arc::new(event.with_replaced_hidden()) } else { event };
        VisibleEvent { event: self.hide_erased(self.hide_redaction(event)), membership }
    }

    /// Redacts the content of erased users in the event and in its redaction, unless the reader was joined when it was
    /// sent. A reader who was joined saw the replaced event as part of the room's state.
    pub(super) fn hide_erased(&self, event: Arc<TimelineEvent>) -> Arc<TimelineEvent> {
        if !shows_erased(self.room, &event) {
            return event;
        }
        let was_joined = self.was_joined(EventPosition::of(&event));
        let is_hidden = |event: &TimelineEvent| {
            is_erased(self.room, event.nid, &event.pdu) && !self.was_joined(EventPosition::of(event))
        };
        let mut shown = TimelineEvent::clone(&event);
        if is_hidden(&event) {
            shown.pdu = redact::redact(&event.pdu);
        }
        let is_of_erased = |replaced: &Replaced| self.room.erased.contains(replaced.sender.as_str());
        if event.replaced.as_deref().is_some_and(is_of_erased) && !was_joined {
            shown = shown.with_replaced_hidden();
        }
        if event.redacted_because.as_deref().is_some_and(is_hidden) {
            Arc::new(shown.with_redaction_hidden())
        } else {
            Arc::new(shown)
        }
    }

    /// Whether the reader was joined before or after an event.
    fn was_joined(&self, event: EventPosition) -> bool {
        let at = || [self.history.at(event.position - 1), self.history.at(event.position)];
        let sides = self.stored.get(&event.nid).copied().unwrap_or_else(at);
        sides.iter().any(|state| state.membership == Some(Membership::Join))
    }

    /// Returns the event without the content of its redaction, if the user may not see that.
    pub(super) fn hide_redaction(&self, event: Arc<TimelineEvent>) -> Arc<TimelineEvent> {
        match &event.redacted_because {
            Some(redaction) if !self.shows(EventPosition::of(redaction)) => Arc::new(event.with_redaction_hidden()),
            _ => event,
        }
    }
}

/// Whether the event shows anything that an erased user sent.
pub(super) fn shows_erased(room: &Room, event: &TimelineEvent) -> bool {
    let replaced = event.replaced.as_ref().map(|replaced| &replaced.sender);
    let redaction = event.redacted_because.as_ref().map(|redaction| redaction.pdu.sender());
    let senders = [Some(event.pdu.sender()), replaced, redaction];
    senders.into_iter().flatten().any(|sender| room.erased.contains(sender.as_str()))
}

/// Whether an event of an erased user is hidden from readers who were not joined when it was sent
/// (<https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>). Current state, such as
/// the room's name or that it is encrypted, is shown to all members.
pub fn is_erased(room: &Room, nid: EventNid, pdu: &Pdu) -> bool {
    if !room.erased.contains(pdu.sender().as_str()) {
        return false;
    }
    let is_current = |key: &str| room.view().event_nid(pdu.event_type(), key) == Some(nid);
    pdu.event_type() == "m.room.member" || !pdu.state_key().is_some_and(is_current)
}

/// Decides the common case without the database: whether the user has been joined since before the oldest event, in a
/// room that has always been `memory` or `world_readable`.
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
    // For events from before this server joined, the states stored with them decide.
    Ok(always_readable && oldest > 0 && room.state_event(member).await?.position <= oldest)
}

/// Whether a state event replaced no other.
fn is_first(event: &TimelineEvent) -> bool {
    event.replaced.is_none() && !event.replaced_unreadable
}
