//! A room that the user has left or was removed from.

use std::sync::Arc;

use plexus_rooms::timeline::{member_until, state_at, state_delta, state_for};
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, Position};

use super::{ReadRoom, RoomReader, RoomUpdate};
use crate::delta::left::own_membership;
use crate::delta::membership::was_joined_at;
use crate::delta::timeline::{Span, Timeline, read_limited};
use crate::sliding::connection::{Progress, SentRoom};
use crate::sliding::lists::RelevantRoom;

impl RoomReader<'_> {
    /// Reads the room up to the end of the user's membership.
    pub(super) async fn left(&self, room: &Room, relevant: &RelevantRoom) -> Result<Option<ReadRoom>, DbError> {
        let (context, membership) = (self.context, &relevant.known.membership);
        if membership.position > context.now.position {
            return Ok(None);
        }
        let before = self.before(relevant);
        let since = match self.since(&before) {
            Some(since) if was_joined_at(context, room, since).await? => Some(since),
            _ => None,
        };
        // A ban may come later than the end of the membership. A user who was only invited, or has knocked, learns of
        // the end of that and no more.
        let until = member_until(&context.request.user, room).await?.map(|until| until.min(membership.position));
        let mut timeline = match until {
            Some(until) => {
                let limit = u64::from(relevant.config.timeline_limit);
                let span = Span { after: since.unwrap_or(0), upto: until, limit };
                read_limited(context, room, span, Some(membership)).await?
            }
            None => Timeline { start: membership.position - 1, ..Timeline::default() },
        };
        let own = own_membership(context, room, membership).await?;
        if until.is_none_or(|until| until < membership.position)
            && let Some(own) = &own
        {
            timeline.memberships.insert(own.nid, membership.kind);
            timeline.events.push(Arc::clone(own));
        }
        let mut required_state = self.state_then(room, relevant, since, until).await?;
        if let Some(own) = own.filter(|own| required_state.iter().all(|event| event.nid != own.nid)) {
            // However little the client wants, it learns that the user is not in the room any more.
            required_state.push(own);
        }
        let mut update = RoomUpdate {
            required_state: state_for(&context.request.user, room, required_state).await?,
            num_live: self.num_live(&timeline.events),
            bump_stamp: Some(membership.position),
            ..RoomUpdate::new(membership.kind, since.is_none())
        };
        if relevant.config.timeline_limit > 0 {
            update.timeline = Some(timeline.into_delta(context, room).await?);
        }
        let sent = SentRoom { room: Progress::Live, timeline_limit: u32::MAX, ..before };
        let sent = relevant.known.facts.is_listed.then_some(sent);
        Ok(Some(ReadRoom { update: Some(update), sent, has: Arc::clone(&relevant.config.required_state) }))
    }

    /// Returns the wanted state as of the end of the membership; only what changed if the client has the room.
    async fn state_then(
        &self,
        room: &Room,
        relevant: &RelevantRoom,
        since: Option<Position>,
        until: Option<Position>,
    ) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let mut events = match (until, since) {
            (None, _) => Vec::new(),
            (Some(until), Some(since)) => state_delta(room, since, until).await?,
            (Some(until), None) => state_at(room, until).await?,
        };
        let required = &relevant.config.required_state;
        events.retain(|event| required.wants(event.pdu.event_type(), event.pdu.state_key().unwrap_or_default()));
        Ok(events)
    }
}
