//! A room that the user has left or was removed from.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_protocol::membership::Membership;
use plexus_rooms::timeline::{member_until, members_at, state_at, state_delta, state_for};
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, Position};

use super::joined::updated;
use super::{MemberCounts, ReadRoom, RoomReader, RoomUpdate, members};
use crate::delta::StrippedRoomDelta;
use crate::delta::left::own_membership;
use crate::delta::membership::was_joined_at;
use crate::delta::timeline::{Span, Timeline, read_limited};
use crate::sliding::connection::{Progress, SentRoom, add_members};
use crate::sliding::lists::RelevantRoom;
use crate::sliding::request::Form;
use crate::sliding::required_state::RequiredState;

const MEMBER: &str = "m.room.member";
/// The state that says how a room is shown in a list.
const SUMMARY_TYPES: [&str; 3] = ["m.room.name", "m.room.avatar", MEMBER];

/// The room as it is being read.
struct Left<'l> {
    room: &'l Room,
    relevant: &'l RelevantRoom,
    /// The client has everything at or before this; `None`: nothing.
    since: Option<Position>,
    /// The last position at which the user was in the room. A ban may come later than the end of the membership.
    until: Position,
    /// What the client had been sent of the room.
    before: &'l SentRoom,
    /// The required state that the client has.
    has: Option<&'l Arc<RequiredState>>,
    /// The user's member event that ended the membership.
    own: Option<&'l Arc<TimelineEvent>>,
}

/// The state at the end of the membership.
struct LastState {
    /// What changed since the client has the room.
    changes: Vec<Arc<TimelineEvent>>,
    /// All of it; `None`: it is not needed.
    all: Option<Vec<Arc<TimelineEvent>>>,
}

impl RoomReader<'_> {
    /// Reads the room up to the end of the user's membership.
    pub(super) async fn left(&self, room: &Room, relevant: &RelevantRoom) -> Result<Option<ReadRoom>, DbError> {
        let (context, membership) = (self.context, &relevant.known.membership);
        if membership.position > context.now.position {
            return Ok(None);
        }
        let before = self.before(relevant);
        let since = match self.since(&before) {
            Some(since) if membership.position <= since || was_joined_at(context, room, since).await? => Some(since),
            _ => None,
        };
        let own = own_membership(context, room, membership).await?;
        let Some(until) = member_until(&context.request.user, room).await? else {
            return Ok(Some(self.never_joined(relevant, since, own)));
        };
        let until = until.min(membership.position);
        let has = since.and_then(|_| self.state.config(&before));
        let left = Left { room, relevant, since, until, before: &before, has, own: own.as_ref() };
        let (timeline, expanded) = self.left_timeline(&left).await?;
        let state = left.last_state().await?;
        let mut sent = SentRoom { room: Progress::Live, ..before.clone() };
        let mut update = RoomUpdate {
            expanded,
            required_state: self.left_state(&left, &state, &timeline, &mut sent).await?,
            num_live: self.num_live(&timeline.events),
            bump_stamp: left.is_new().then_some(membership.position),
            ..self.left_summary(&left, &state).await?
        };
        if left.is_new() || expanded {
            // A client that has the whole timeline has as much as it may ever ask for.
            sent.timeline_limit = if timeline.limited { relevant.config.timeline_limit } else { u32::MAX };
            if relevant.config.timeline_limit > 0 {
                update.timeline = Some(timeline.into_delta(context, room).await?);
            }
        }
        let is_dm = self.labels.direct.contains(&room.nid);
        update.is_dm = (is_dm != sent.is_dm).then_some(is_dm);
        sent.is_dm = is_dm;
        let has_news = left.is_new() || expanded || !update.has_nothing_else();
        let has = left.has_then(&state);
        let sent = relevant.known.facts.is_listed.then_some(sent);
        Ok(Some(ReadRoom { update: has_news.then_some(update), sent, has }))
    }

    /// Returns the update for a user who was invited, has knocked or was banned, but has never been in the room: it
    /// says that this has ended, and no more.
    fn never_joined(
        &self,
        relevant: &RelevantRoom,
        since: Option<Position>,
        own: Option<Arc<TimelineEvent>>,
    ) -> ReadRoom {
        let (membership, facts) = (relevant.known.membership, &relevant.known.facts);
        let mut update =
            RoomUpdate { bump_stamp: Some(membership.position), ..RoomUpdate::new(membership.kind, since.is_none()) };
        match self.form {
            Form::Stable => update.stripped = own.map(|member| StrippedRoomDelta { state: Vec::new(), member }),
            // There stripped state means an invite or a knock.
            Form::Unstable => update.required_state.extend(own),
        }
        let is_new = since.is_none_or(|since| membership.position > since);
        let sent = SentRoom { room: Progress::Live, timeline_limit: u32::MAX, ..self.before(relevant) };
        let has = Arc::clone(&relevant.config.required_state);
        ReadRoom { update: is_new.then_some(update), sent: facts.is_listed.then_some(sent), has }
    }

    /// Reads the timeline, and says whether it begins before what the client has of it.
    async fn left_timeline(&self, left: &Left<'_>) -> Result<(Timeline, bool), DbError> {
        let Left { room, relevant, since, until, before, own, .. } = left;
        let (membership, limit) = (&relevant.known.membership, relevant.config.timeline_limit);
        let expanded = since.is_some() && limit > before.timeline_limit;
        if !left.is_new() && !expanded {
            return Ok((Timeline { start: membership.position, ..Timeline::default() }, false));
        }
        let after = since.filter(|_| !expanded).unwrap_or(0);
        let span = Span { after, upto: *until, limit: u64::from(limit) };
        let mut timeline = read_limited(self.context, room, span, Some(membership)).await?;
        if *until < membership.position
            && let Some(own) = own
        {
            timeline.memberships.insert(own.nid, membership.kind);
            timeline.events.push(Arc::clone(own));
        }
        Ok((timeline, expanded))
    }

    /// Returns the wanted state that the client does not have.
    async fn left_state(
        &self,
        left: &Left<'_>,
        state: &LastState,
        timeline: &Timeline,
        sent: &mut SentRoom,
    ) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
        let required = &left.relevant.config.required_state;
        let text = |event: &TimelineEvent| event.pdu.state_key().unwrap_or_default().to_owned();
        let wants = |event: &TimelineEvent| required.wants(event.pdu.event_type(), &text(event));
        let has = |event: &TimelineEvent| left.has.is_some_and(|has| has.wants(event.pdu.event_type(), &text(event)));
        let all = state.all.iter().flatten().filter(|event| !has(event));
        let mut events: Vec<Arc<TimelineEvent>> =
            state.changes.iter().chain(all).filter(|event| wants(event)).cloned().collect();
        if required.lazy_members {
            let senders: BTreeSet<&str> = timeline.events.iter().map(|event| event.pdu.sender().as_str()).collect();
            let senders = senders.into_iter().filter(|sender| !required.wants(MEMBER, sender)).map(str::to_owned);
            let members = members_at(left.room, left.until, senders.collect()).await?;
            let new: Vec<_> = members.into_iter().filter(|event| !sent.has_member(event.nid)).collect();
            add_members(sent, new.iter().map(|event| event.nid));
            events.extend(new);
        }
        if left.is_new() {
            // However little the client wants, it learns that the user is not in the room any more.
            events.extend(left.own.cloned());
        }
        events.sort_unstable_by_key(|event| event.nid);
        events.dedup_by_key(|event| event.nid);
        state_for(&self.context.request.user, left.room, events).await
    }

    /// Returns the room's name, avatar, heroes and counts of members at the end of the membership, as far as they may
    /// have changed.
    async fn left_summary(&self, left: &Left<'_>, state: &LastState) -> Result<RoomUpdate, DbError> {
        let (user, initial) = (&self.context.request.user, left.since.is_none());
        let mut update = RoomUpdate::new(left.relevant.known.membership.kind, initial);
        let Some(all) = &state.all else { return Ok(update) };
        let changed =
            |event_type: &str| initial || state.changes.iter().any(|event| event.pdu.event_type() == event_type);
        let text = |event_type: &str, member: &str| {
            let event = all.iter().find(|event| event.pdu.is_state(event_type, ""))?;
            event.pdu.content().get_str(member).filter(|text| !text.is_empty())
        };
        let name = text("m.room.name", "name");
        if changed("m.room.name") {
            update.name = updated(name, initial);
        }
        if changed("m.room.avatar") {
            update.avatar = updated(text("m.room.avatar", "url"), initial);
        }
        if name.is_none() && (changed("m.room.name") || changed(MEMBER)) {
            update.heroes = Some(members::heroes_of_state(left.room, all, user).await?);
        }
        if changed(MEMBER) {
            let members = all.iter().filter(|event| event.pdu.event_type() == MEMBER);
            let others = members.filter(|event| event.pdu.state_key() != Some(user.as_str()));
            let kinds: Vec<Membership> = others.filter_map(|event| Membership::of(&event.pdu)).collect();
            let count = |wanted| kinds.iter().filter(|kind| **kind == wanted).count() as u64;
            update.members = Some(MemberCounts { joined: count(Membership::Join), invited: count(Membership::Invite) });
        }
        Ok(update)
    }
}

impl Left<'_> {
    /// Whether the client does not know that the user is not in the room any more.
    fn is_new(&self) -> bool {
        self.since.is_none_or(|since| self.relevant.known.membership.position > since)
    }

    /// Returns the required state that the client has after the response.
    fn has_then(&self, state: &LastState) -> Arc<RequiredState> {
        let required = &self.relevant.config.required_state;
        let Some(has) = self.has else { return Arc::clone(required) };
        let outdated = |event: &Arc<TimelineEvent>| {
            let (event_type, key) = (event.pdu.event_type(), event.pdu.state_key().unwrap_or_default());
            has.wants(event_type, key) && !required.wants(event_type, key)
        };
        match required.is_within(has) {
            _ if state.changes.iter().any(outdated) => Arc::clone(required),
            true => Arc::clone(has),
            false => Arc::new(required.and_sent_before(has)),
        }
    }

    async fn last_state(&self) -> Result<LastState, DbError> {
        let changes = match self.since {
            Some(since) if self.is_new() => state_delta(self.room, since, self.until).await?,
            _ => Vec::new(),
        };
        let has_enough = self.has.is_some_and(|has| self.relevant.config.required_state.is_within(has));
        // A room that the user left leaves the list: its state, which may be large, is not read for that.
        let is_shown_otherwise = self.relevant.known.facts.is_listed
            && changes.iter().any(|event| SUMMARY_TYPES.contains(&event.pdu.event_type()));
        let needs_all = self.since.is_none() || !has_enough || is_shown_otherwise;
        let all = if needs_all { Some(state_at(self.room, self.until).await?) } else { None };
        Ok(LastState { changes, all })
    }
}
