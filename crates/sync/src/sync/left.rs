//! A room the user has left or was banned from.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_rooms::timeline::{member_until, state_delta};
use plexus_rooms::{Room, RoomMembership, TimelineEvent};
use plexus_store::DbError;

use super::build::{Build, Hints};
use super::devices::Encounters;
use super::joined::joined_members;
use super::state::StateOf;
use super::timeline::Timeline;
use crate::history;
use crate::json::Members;

impl Build<'_> {
    /// What happened in the room up to the leave.
    pub(super) async fn left(
        &self,
        room: &Arc<Room>,
        membership: &RoomMembership,
        hints: Hints,
        encounters: &mut Encounters,
    ) -> Result<Option<String>, DbError> {
        let since = self.since_position();
        let was_joined = self.request.since.is_some() && self.was_joined(room).await?;
        // The room is told of as far as the user was a member. A ban may come later, and who was only invited, or has
        // knocked, or was banned without ever coming in, learns of the end of that and no more.
        let until = member_until(&self.request.user, room).await?.map(|until| until.min(membership.position));
        let member = until.filter(|_| was_joined || self.request.since.is_none());
        let mut timeline = match member {
            Some(until) => self.timeline(room, since, until, Some(membership)).await?,
            None => Timeline { start: membership.position - 1, ..Timeline::default() },
        };
        if member.is_none_or(|until| until < membership.position)
            && let Some(event) = self.own_membership(room, membership).await?
        {
            timeline.away.insert(event.nid, membership.kind);
            timeline.events.push(event);
        }
        let view = room.view();
        if let Some(until) = member.filter(|_| was_joined) {
            // Whoever came later was never met.
            let later = state_delta(room, until, self.now.position).await?;
            let members = later.iter().filter(|event| event.pdu.event_type() == "m.room.member");
            let later: HashSet<&str> = members.filter_map(|event| event.pdu.state_key()).collect();
            let met = |user: &UserId| !later.contains(user.as_str());
            encounters.left.extend(joined_members(&view).filter(met));
        }
        let of = StateOf { room, view: &view, timeline: &timeline, heroes: &[], until };
        let state = match member {
            Some(_) if was_joined => self.changed_state(&of, since).await?,
            Some(until) => self.state_at_leave(&of, until).await?,
            None => Vec::new(),
        };
        let mut out = String::with_capacity(1024);
        let mut members = Members::open(&mut out);
        self.write_state(&mut members, &state);
        self.write_timeline(&mut members, room, &timeline).await?;
        members.events("account_data", hints.account_data.iter().map(String::as_str));
        members.close();
        Ok(Some(out))
    }

    /// The user's own member event that made the membership what it is.
    async fn own_membership(
        &self,
        room: &Room,
        membership: &RoomMembership,
    ) -> Result<Option<Arc<TimelineEvent>>, DbError> {
        let view = room.view();
        let current = view.state.get("m.room.member", self.request.user.as_str());
        // The end of an invite to a room of other servers has no place in a timeline here.
        if let Some(entry) = current.filter(|entry| entry.nid == membership.event_nid) {
            return room.readable_state_event(entry).await;
        }
        let at = membership.position;
        let found = history::newest(room, at - 1, at, 1).await?.pop();
        Ok(found.filter(|event| event.pdu.is_state("m.room.member", self.request.user.as_str())))
    }
}
