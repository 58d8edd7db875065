//! A room that the user is in.

use std::sync::Arc;

use plexus_rooms::{Room, RoomView, TimelineEvent, timeline as history};
use plexus_store::{DbError, Position};

use super::required::{Wanted, may_have_lost_state};
use super::{MemberCounts, ReadRoom, RoomReader, RoomUpdate, Update, bump_stamp, members};
use crate::delta::membership::was_joined_at;
use crate::delta::timeline::{Span, Timeline, read_limited};
use crate::sliding::connection::{Progress, SentRoom};
use crate::sliding::lists::RelevantRoom;
use crate::sliding::request::Form;

/// The room as it is being read.
struct Joined<'j> {
    room: &'j Room,
    view: &'j RoomView,
    relevant: &'j RelevantRoom,
    /// The client has everything at or before this; `None`: nothing.
    since: Option<Position>,
    /// The current state's changes since then.
    changes: &'j [Arc<TimelineEvent>],
}

impl RoomReader<'_> {
    pub(super) async fn joined(&self, room: &Arc<Room>, relevant: &RelevantRoom) -> Result<ReadRoom, DbError> {
        let (context, config, upto) = (self.context, &relevant.config, self.context.now.position);
        let mut sent = self.before(relevant);
        let since = self.known_since(room, relevant, &sent).await?;
        if since.is_none() {
            sent = SentRoom::new(room.nid);
        }
        let expanded = since.is_some() && config.timeline_limit > sent.timeline_limit;
        let timeline = self.timeline(room, relevant, since.filter(|_| !expanded)).await?;
        let view = room.view();
        let changes = match since {
            Some(since) => history::state_delta(room, since, upto).await?,
            None => Vec::new(),
        };
        let required = Wanted {
            context,
            room,
            view: &view,
            required: &config.required_state,
            has: since.and_then(|_| self.state.config(&sent)),
            since,
            changes: &changes,
            shown: &timeline.events,
            limited: timeline.limited,
        };
        let is_dm = self.labels.direct.contains(&room.nid);
        let joined = Joined { room, view: &view, relevant, since, changes: &changes };
        let mut update = RoomUpdate {
            expanded,
            required_state: required.events(&mut sent).await?,
            is_dm: (is_dm != sent.is_dm).then_some(is_dm),
            num_live: self.num_live(&timeline.events),
            ..self.summary(&joined).await?
        };
        if self.form == Form::Stable {
            update.removed_state = required.removed(upto).await?;
        }
        let has = required.has_then();
        update.bump_stamp = joined.bump_stamp(&timeline, upto).await?;
        let gap = timeline.limited;
        if since.is_none() || expanded || gap {
            // A client that has the whole timeline has as much as it may ever ask for.
            sent.timeline_limit = if gap { config.timeline_limit } else { u32::MAX };
        }
        let is_empty = timeline.events.is_empty() && !gap && update.has_nothing_else();
        sent.room = Progress::Live;
        sent.is_dm = is_dm;
        if !is_empty || self.has_own_receipt(room, since) {
            let (unread, position) = (&context.parts.unread, relevant.known.membership.position);
            update.unread = Some(unread.counts(&context.request.user, room, position, upto).await?);
            if config.timeline_limit > 0 {
                update.timeline = Some(timeline.into_delta(context, room).await?);
            }
            return Ok(ReadRoom { update: Some(update), sent: Some(sent), has });
        }
        Ok(ReadRoom { update: None, sent: Some(sent), has })
    }

    /// Returns the position up to which the client has everything of the room, if it goes on from there.
    async fn known_since(
        &self,
        room: &Room,
        relevant: &RelevantRoom,
        sent: &SentRoom,
    ) -> Result<Option<Position>, DbError> {
        let Some(since) = self.since(sent) else { return Ok(None) };
        let server = self.context.parts.rooms.server_name();
        let lazily = relevant.config.required_state.can_do_without_remote_members(server.as_str());
        // Its state has come since, or the user has.
        if room.view().visible_from(lazily).is_none_or(|from| from > since) {
            return Ok(None);
        }
        let is_member = relevant.known.membership.position <= since || was_joined_at(self.context, room, since).await?;
        Ok(is_member.then_some(since))
    }

    async fn timeline(
        &self,
        room: &Room,
        relevant: &RelevantRoom,
        since: Option<Position>,
    ) -> Result<Timeline, DbError> {
        let after = since.unwrap_or(0);
        let membership = &relevant.known.membership;
        let limit = u64::from(relevant.config.timeline_limit);
        let span = Span { after, upto: self.context.now.position, limit };
        // Between the position and a new membership event the user may have been away.
        let checked = (membership.position > after).then_some(membership);
        read_limited(self.context, room, span, checked).await
    }

    /// Returns the room's name, avatar, heroes and counts of members, as far as they may have changed.
    async fn summary(&self, joined: &Joined<'_>) -> Result<RoomUpdate, DbError> {
        let Joined { room, view, relevant, since, .. } = joined;
        let initial = since.is_none();
        let mut update = RoomUpdate::new(relevant.known.membership.kind, initial);
        let name = view.content_str("m.room.name", "name").filter(|name| !name.is_empty());
        let name_changed = joined.changed(&["m.room.name"]);
        let members_changed = joined.changed(&["m.room.member"]) || joined.became_complete();
        if name.is_none() && (name_changed || members_changed) {
            update.heroes = Some(members::heroes(room, view, &self.context.request.user).await?);
        }
        if name_changed {
            update.name = updated(name, initial);
        }
        if joined.changed(&["m.room.avatar"]) {
            let avatar = view.content_str("m.room.avatar", "url").filter(|url| !url.is_empty());
            update.avatar = updated(avatar, initial);
        }
        if members_changed {
            update.members = Some(MemberCounts { joined: view.joined_count, invited: view.invited_count });
        }
        Ok(update)
    }

    /// Whether the user's own receipt in the room may have moved since.
    fn has_own_receipt(&self, room: &Room, since: Option<Position>) -> bool {
        let Some(since) = since else { return false };
        let receipts = self.context.parts.receipts.in_memory(room.nid, since, self.context.now.position);
        receipts.is_none_or(|receipts| receipts.iter().any(|receipt| receipt.user == self.context.request.user))
    }
}

impl Joined<'_> {
    /// Whether state of one of these types may have changed since.
    fn changed(&self, types: &[&str]) -> bool {
        let Some(since) = self.since else { return true };
        may_have_lost_state(self.view, since)
            || self.changes.iter().any(|event| types.contains(&event.pdu.event_type()))
    }

    /// Whether the members that were missing have come since.
    fn became_complete(&self) -> bool {
        self.since.is_some_and(|since| self.view.visible_from(false).is_some_and(|from| from > since))
    }

    async fn bump_stamp(&self, timeline: &Timeline, upto: Position) -> Result<Option<Position>, DbError> {
        let in_timeline = timeline.all.iter().any(|event| bump_stamp::is_bump(event));
        if self.since.is_some() && !timeline.limited && !in_timeline {
            return Ok(None);
        }
        bump_stamp::of(self.room, self.view, upto, self.relevant.known.membership.position).await.map(Some)
    }
}

impl RoomUpdate {
    /// Whether nothing changed outside the timeline.
    pub(super) fn has_nothing_else(&self) -> bool {
        !self.initial
            && self.name == Update::Unchanged
            && self.avatar == Update::Unchanged
            && self.heroes.is_none()
            && self.members.is_none()
            && self.is_dm.is_none()
            && self.required_state.is_empty()
            && self.removed_state.is_empty()
    }
}

pub(super) fn updated(value: Option<&str>, initial: bool) -> Update<String> {
    match value {
        Some(value) => Update::Set(value.to_owned()),
        None if initial => Update::Unchanged,
        None => Update::Removed,
    }
}
