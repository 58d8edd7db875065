//! A room the user is in.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, RoomMembership, RoomView};
use plexus_store::repo::receipts::{self as stored_receipts, Receipt};
use plexus_store::{DbError, Position, Tx};

use super::account_data;
use super::context::{Context, RoomHints};
use super::events::{AccountData, EventList};
use super::membership::{was_away, was_joined};
use super::state::StateReader;
use super::sticky;
use super::summary::{self, Summary};
use super::timeline::{self, TimelineDelta};
use super::user_changes::UserChanges;
use crate::unread::RoomCounts;

/// The changes in a joined room.
#[derive(Debug)]
pub struct JoinedRoomDelta {
    /// `None` when the client does not need it.
    pub summary: Option<Summary>,
    /// State besides that in the timeline.
    pub state: EventList,
    /// The newest events.
    pub timeline: TimelineDelta,
    /// The sticky events that are not in the timeline.
    pub sticky: EventList,
    /// Typing notifications and receipts.
    pub ephemeral: EphemeralDelta,
    /// The user's account data of the room.
    pub account_data: Vec<AccountData>,
    /// The unread counts, changed or not.
    pub counts: RoomCounts,
}

/// Typing notifications and receipts.
#[derive(Debug, Default)]
pub struct EphemeralDelta {
    /// The users who type, if that changed.
    pub typing: Option<Vec<UserId>>,
    /// The receipts that the user may see.
    pub receipts: Vec<Arc<Receipt>>,
}

impl EphemeralDelta {
    fn is_empty(&self) -> bool {
        self.typing.is_none() && self.receipts.is_empty()
    }
}

/// How much of a room is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All state and the newest events: the device does not know the room.
    Whole,
    /// All state, and what is new in the timeline (`full_state`).
    WholeState,
    /// The changes since the token.
    Changes,
}

/// Returns the changes in a joined room; `None` if there are none.
pub(super) async fn changed(
    context: &Context<'_>,
    room: &Arc<Room>,
    membership: &RoomMembership,
    hints: RoomHints,
    users: &mut UserChanges,
) -> Result<Option<JoinedRoomDelta>, DbError> {
    let extent = extent(context, room, membership).await?;
    let whole = extent == Extent::Whole;
    let since = if whole { 0 } else { context.since_position() };
    // Between the token and a new membership event the user may have been away.
    let checked = (membership.position > since).then_some(membership);
    let became_complete = room.view().visible_from(false).is_some_and(|from| from > since);
    let mut timeline = timeline::read(context, room, since, context.now.position, checked).await?;
    // As far as the client can tell, what lies before the join is missing.
    timeline.limited |= whole && context.request.since.is_some();
    let view = room.view();
    let members_changed = timeline.all.iter().any(|event| event.pdu.event_type() == "m.room.member");
    let summed = context.filter().lazy_load_members()
        && (extent != Extent::Changes || timeline.limited || members_changed || became_complete);
    let summary = summed.then(|| summary::of(&view, &context.request.user));
    let heroes = summary.as_ref().map_or(&[][..], |summary| &summary.heroes);
    let reader = StateReader { context, room, view: &view, timeline: &timeline, heroes, until: None };
    let state = match extent {
        Extent::Changes => reader.changed(since).await?,
        Extent::Whole | Extent::WholeState => reader.full().await?,
    };
    let met_all = whole || was_away(context, room, membership).await?;
    users.add_room(context, &view, met_all, state.iter().chain(&timeline.all));
    let ephemeral = ephemeral(context, room, &view, whole, hints.typing).await?;
    let account_data = match extent {
        Extent::Whole if context.request.since.is_some() => account_data::of_room(context, room.id.as_str()).await?,
        _ if context.filter().room.account_data.allows_room(room.id.as_str()) => hints.account_data,
        _ => Vec::new(),
    };
    let sticky = context.sticky.get(&room.nid).map_or(&[][..], Vec::as_slice);
    let sticky = EventList(sticky::events(context, room, sticky, &timeline.events).await?);
    let is_empty = timeline.events.is_empty()
        && sticky.is_empty()
        && state.is_empty()
        && ephemeral.is_empty()
        && account_data.is_empty();
    if is_empty && extent == Extent::Changes && !timeline.limited && !(summed && became_complete) {
        return Ok(None);
    }
    let unread = &context.parts.unread;
    let counts = unread.counts(&context.request.user, room, membership.position, context.now.position).await?;
    let timeline = timeline.into_delta(context, room).await?;
    Ok(Some(JoinedRoomDelta { summary, state: EventList(state), timeline, sticky, ephemeral, account_data, counts }))
}

async fn extent(context: &Context<'_>, room: &Room, membership: &RoomMembership) -> Result<Extent, DbError> {
    let since = context.since_position();
    Ok(match context.request.since {
        None => Extent::Whole,
        // Its state has come since.
        Some(_) if context.visible_from(room).is_some_and(|from| from > since) => Extent::Whole,
        Some(_) if membership.position > since && !was_joined(context, room).await? => Extent::Whole,
        Some(_) if context.request.full_state => Extent::WholeState,
        Some(_) => Extent::Changes,
    })
}

async fn ephemeral(
    context: &Context<'_>,
    room: &Room,
    view: &RoomView,
    whole: bool,
    typing_changed: bool,
) -> Result<EphemeralDelta, DbError> {
    let filter = &context.filter().room.ephemeral;
    let mut ephemeral = EphemeralDelta::default();
    if !filter.allows_room(room.id.as_str()) {
        return Ok(ephemeral);
    }
    if filter.event.allows_type("m.typing") {
        let mut users = context.parts.typing.users(room.nid);
        let ignored = &context.settings.ignored;
        users.retain(|user| {
            view.state.membership(user.as_str()) == Some(Membership::Join) && !ignored.contains(user.as_str())
        });
        if typing_changed || (whole && !users.is_empty()) {
            ephemeral.typing = Some(users);
        }
    }
    if filter.event.allows_type("m.receipt") {
        let since = if whole { 0 } else { context.since_position() };
        ephemeral.receipts = receipts(context, room, since).await?;
        ephemeral.receipts.retain(|receipt| context.shows_receipt(receipt));
    }
    Ok(ephemeral)
}

async fn receipts(context: &Context<'_>, room: &Room, since: Position) -> Result<Vec<Arc<Receipt>>, DbError> {
    let (nid, upto) = (room.nid, context.now.position);
    if let Some(found) = context.receipts.as_ref().filter(|_| since == 0) {
        return Ok(found.get(&nid).cloned().unwrap_or_default());
    }
    if let Some(found) = context.parts.receipts.in_memory(nid, since, upto) {
        return Ok(found);
    }
    let read = move |tx: &mut Tx<'_>| stored_receipts::in_rooms(tx, &[nid], since, upto);
    let found: Vec<Receipt> = context.parts.db.read(read).await?;
    Ok(found.into_iter().map(Arc::new).collect())
}
