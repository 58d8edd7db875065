//! A room the user is in.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, RoomMembership, RoomView, TimelineEvent, relations, timeline as history};
use plexus_store::repo::receipts::Receipt;
use plexus_store::{DbError, Position, repo};

use super::build::{Build, Hints};
use super::devices::Encounters;
use super::state::StateOf;
use super::summary;
use super::timeline::{Timeline, Wanted};
use crate::json::Members;
use crate::token::SyncToken;
use crate::unread::{Count, RoomCounts};
use crate::{receipts, typing};

/// How many timeline events of a room a client gets that does not say.
const DEFAULT_LIMIT: u64 = 10;

/// How much of a room is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All state and the newest events: the device does not know the room.
    Whole,
    /// All state, and what is new in the timeline (`full_state`).
    WholeState,
    /// What is new.
    News,
}

impl Build<'_> {
    /// What is new in a joined room; `None` when nothing is.
    pub(super) async fn joined(
        &self,
        room: &Arc<Room>,
        membership: &RoomMembership,
        hints: Hints,
        encounters: &mut Encounters,
    ) -> Result<Option<String>, DbError> {
        let extent = self.extent(room, membership).await?;
        let whole = extent == Extent::Whole;
        let since = if whole { 0 } else { self.since_position() };
        // Between the token and a new membership event the user may have been away.
        let checked = (membership.position > since).then_some(membership);
        let filled = room.view().told_from(false).is_some_and(|from| from > since);
        let mut timeline = self.timeline(room, since, self.now.position, checked).await?;
        // What lies before the join is not in the answer, as far as the client can tell.
        timeline.limited |= whole && self.request.since.is_some();
        let view = room.view();
        let members_changed = timeline.all.iter().any(|event| event.pdu.event_type() == "m.room.member");
        let summed = self.filter().lazy_load_members()
            && (extent != Extent::News || timeline.limited || members_changed || filled);
        let heroes = if summed { summary::heroes(&view, &self.request.user) } else { Vec::new() };
        let of = StateOf { room, view: &view, timeline: &timeline, heroes: &heroes, until: None };
        let state = match extent {
            Extent::News => self.changed_state(&of, since).await?,
            Extent::Whole | Extent::WholeState => self.full_state(&of).await?,
        };
        let was_away = extent != Extent::Whole && self.was_away(room, membership).await?;
        let met_all = extent == Extent::Whole || was_away;
        self.note_encounters(room, &view, met_all, state.iter().chain(&timeline.all), encounters);
        let ephemeral = self.ephemeral(room, &view, whole, hints.typing).await?;
        let account_data = match extent {
            Extent::Whole if self.request.since.is_some() => self.room_account_data(room.id.as_str()).await?,
            _ if self.filter().room.account_data.allows_room(room.id.as_str()) => hints.account_data,
            _ => Vec::new(),
        };
        let empty = timeline.events.is_empty() && state.is_empty() && ephemeral.is_empty() && account_data.is_empty();
        if empty && extent == Extent::News && !timeline.limited && !(summed && filled) {
            return Ok(None);
        }
        let counts =
            self.parts().unread.counts(&self.request.user, room, membership.position, self.now.position).await?;
        let mut out = String::with_capacity(2048);
        let mut members = Members::open(&mut out);
        if summed {
            summary::write(&mut members, &view, &heroes);
        }
        self.write_state(&mut members, &state);
        self.write_timeline(&mut members, room, &timeline).await?;
        members.events("ephemeral", ephemeral.iter().map(String::as_str));
        members.events("account_data", account_data.iter().map(String::as_str));
        self.write_counts(&mut members, &counts);
        members.close();
        Ok(Some(out))
    }

    async fn extent(&self, room: &Room, membership: &RoomMembership) -> Result<Extent, DbError> {
        Ok(match self.request.since {
            None => Extent::Whole,
            // Its state has come since.
            Some(_) if self.told_from(room).is_some_and(|from| from > self.since_position()) => Extent::Whole,
            Some(_) if membership.position > self.since_position() && !self.was_joined(room).await? => Extent::Whole,
            Some(_) if self.request.full_state => Extent::WholeState,
            Some(_) => Extent::News,
        })
    }

    /// Whether the user was in the room at the request's token.
    pub(super) async fn was_joined(&self, room: &Room) -> Result<bool, DbError> {
        let (since, user) = (self.since_position(), self.request.user.as_str());
        let event = history::state_event_at(room, since, "m.room.member", user).await?;
        Ok(event.and_then(|event| Membership::of(&event.pdu)) == Some(Membership::Join))
    }

    /// Whether the user, who was in the room at the request's token, has left it and come back since. Meanwhile others
    /// may have changed their devices unseen.
    async fn was_away(&self, room: &Room, membership: &RoomMembership) -> Result<bool, DbError> {
        let since = self.since_position();
        if self.request.since.is_none() || membership.position <= since {
            return Ok(false);
        }
        let own = history::member_changes(room, &self.request.user, since, self.now.position).await?;
        Ok(own.iter().any(|event| Membership::of(&event.pdu) != Some(Membership::Join)))
    }

    /// The room's timeline as far as it is told. `checked`: the membership to check the room's history visibility for.
    pub(super) async fn timeline(
        &self,
        room: &Room,
        after: Position,
        upto: Position,
        checked: Option<&RoomMembership>,
    ) -> Result<Timeline, DbError> {
        let filter = &self.filter().room.timeline;
        let most = self.parts().options.timeline_limit.unwrap_or(u64::MAX);
        let limit = filter.event.limit.unwrap_or(DEFAULT_LIMIT).min(most);
        let shown = filter.allows_room(room.id.as_str());
        let keep = |event: &TimelineEvent| shown && self.wants(&event.pdu);
        let limit = usize::try_from(limit.min(1_000)).unwrap_or(1_000);
        let mut timeline = Timeline::load(room, Wanted { after, upto, limit, keep: &keep }).await?;
        // Whoever has been in the room since before the first event sees all of them.
        if let Some(membership) = checked
            && timeline.events.first().is_some_and(|first| first.position < membership.position)
        {
            let loaded = timeline.events.len();
            let visible = history::visible(&self.request.user, room, timeline.events).await?;
            timeline.away = visible
                .iter()
                .filter(|visible| visible.membership != Membership::Join)
                .map(|visible| (visible.event.nid, visible.membership))
                .collect();
            timeline.events = visible.into_iter().map(|visible| visible.event).collect();
            if timeline.events.len() < loaded && (timeline.limited || after == 0) {
                timeline.begin_with_shown(upto);
            }
        }
        Ok(timeline)
    }

    fn wants(&self, pdu: &Pdu) -> bool {
        let sender = pdu.sender().as_str();
        // Ignored users' state is sent all the same (client-server API, Ignoring Users).
        let ignored = pdu.state_key().is_none() && self.settings.ignored.contains(sender);
        let has_url = || pdu.content().get("url").is_some();
        !ignored && self.filter().room.timeline.allows(pdu.event_type(), sender, has_url)
    }

    /// Notes whom the user has met, for presence and device lists, and who has left. `met_all`: everybody in the room,
    /// because the user has come in.
    fn note_encounters<'e>(
        &self,
        room: &Room,
        view: &RoomView,
        met_all: bool,
        events: impl Iterator<Item = &'e Arc<TimelineEvent>>,
        encounters: &mut Encounters,
    ) {
        if self.request.since.is_none() {
            return;
        }
        let is_in = |user: &UserId| view.state.membership(user.as_str()) == Some(Membership::Join);
        if met_all {
            encounters.met.extend(self.parts().presence.not_offline().into_iter().filter(is_in));
            encounters.joined.extend(joined_members(view));
        }
        for event in events {
            if event.pdu.event_type() == "m.room.encryption" && room.view().is_encrypted() {
                let others = joined_members(view).filter(|user| *user != self.request.user);
                encounters.joined.extend(others);
            }
            if event.pdu.event_type() != "m.room.member" {
                continue;
            }
            let Some(user) = event.pdu.state_key().and_then(|user| UserId::try_from(user).ok()) else { continue };
            let is_now = view.state.membership(user.as_str());
            match Membership::of(&event.pdu) {
                Some(Membership::Join) if !was_member(event) && is_in(&user) => {
                    encounters.joined.insert(user.clone());
                    encounters.met.insert(user);
                }
                // Messages may be encrypted for them already.
                kind @ Some(Membership::Invite | Membership::Knock) if kind == is_now => {
                    encounters.joined.insert(user);
                }
                Some(Membership::Leave | Membership::Ban) if was_member(event) => {
                    encounters.left.insert(user);
                }
                _ => {}
            }
        }
    }

    async fn ephemeral(
        &self,
        room: &Room,
        view: &RoomView,
        whole: bool,
        typing_changed: bool,
    ) -> Result<Vec<String>, DbError> {
        let filter = &self.filter().room.ephemeral;
        if !filter.allows_room(room.id.as_str()) {
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        if filter.event.allows_type("m.typing") {
            let mut users = self.parts().typing.users(room.nid);
            users.retain(|user| view.state.membership(user.as_str()) == Some(Membership::Join));
            if typing_changed || (whole && !users.is_empty()) {
                events.push(typing::event(&users));
            }
        }
        if filter.event.allows_type("m.receipt") {
            let since = if whole { 0 } else { self.since_position() };
            events.extend(self.receipts(room, since).await?);
        }
        Ok(events)
    }

    async fn receipts(&self, room: &Room, since: Position) -> Result<Option<String>, DbError> {
        let (nid, upto) = (room.nid, self.now.position);
        if let Some(found) = self.receipts.as_ref().filter(|_| since == 0) {
            let found = found.get(&nid).map(Vec::as_slice).unwrap_or_default();
            return Ok(receipts::event(found, &self.request.user));
        }
        if let Some(found) = self.parts().receipts.in_memory(nid, since, upto) {
            return Ok(receipts::event(found.iter().map(|receipt| &**receipt), &self.request.user));
        }
        let read = move |tx: &mut plexus_store::Tx<'_>| repo::receipts::in_rooms(tx, &[nid], since, upto);
        let found: Vec<Receipt> = self.parts().db.read(read).await?;
        Ok(receipts::event(&found, &self.request.user))
    }

    pub(super) fn write_state(&self, out: &mut Members<'_>, state: &[Arc<TimelineEvent>]) {
        let name = if self.request.state_after { "state_after" } else { "state" };
        let events: Vec<String> = state.iter().map(|event| self.event_json(event, None, None)).collect();
        out.events(name, events.iter().map(String::as_str));
    }

    pub(super) async fn write_timeline(
        &self,
        out: &mut Members<'_>,
        room: &Room,
        timeline: &Timeline,
    ) -> Result<(), DbError> {
        let related = maybe_related(&room.view(), &timeline.events);
        let bundled = relations::bundle(room, &self.format(), &related).await?;
        let mut members = Members::open(out.key("timeline"));
        let events: Vec<String> = timeline
            .events
            .iter()
            .map(|event| {
                let relations = bundled.get(&event.nid).map(String::as_str);
                let membership = timeline.away.get(&event.nid).unwrap_or(&Membership::Join);
                self.event_json(event, Some(membership.as_str()), relations)
            })
            .collect();
        crate::json::push_array(members.key("events"), events.iter().map(String::as_str));
        members.raw("limited", if timeline.limited { "true" } else { "false" });
        let prev_batch = SyncToken { position: timeline.prev_batch(), ..self.now.token() };
        members.text("prev_batch", &prev_batch.to_string());
        members.close();
        Ok(())
    }

    fn write_counts(&self, out: &mut Members<'_>, counts: &RoomCounts) {
        let by_thread = self.filter().room.timeline.unread_thread_notifications;
        write_count(out.key("unread_notifications"), if by_thread { counts.main } else { counts.total() });
        if by_thread && !counts.threads.is_empty() {
            let mut threads = Members::open(out.key("unread_thread_notifications"));
            counts.threads.iter().for_each(|(root, count)| write_count(threads.key(root), *count));
            threads.close();
        }
    }
}

/// The events that others may relate to. Relations come after what they relate to: for an event whose successors are all
/// in memory, memory knows.
fn maybe_related(view: &RoomView, events: &[Arc<TimelineEvent>]) -> Vec<Arc<TimelineEvent>> {
    let Some(first) = events.first() else { return Vec::new() };
    let later = view.recent.iter().rev().take_while(|event| event.position > first.position);
    let targets: HashSet<&str> =
        later.filter_map(|event| event.pdu.content().get_object("m.relates_to")?.get_str("event_id")).collect();
    let related = |event: &&Arc<TimelineEvent>| {
        event.position <= view.recent_after || targets.contains(event.pdu.event_id().as_str())
    };
    events.iter().filter(related).cloned().collect()
}

fn write_count(out: &mut String, count: Count) {
    let mut members = Members::open(out);
    members.number("highlight_count", count.highlights);
    members.number("notification_count", count.notifications);
    members.close();
}

/// Everybody who is in the room.
pub(super) fn joined_members(view: &RoomView) -> impl Iterator<Item = UserId> {
    let members = view.state.of_type("m.room.member");
    let joined = members.filter(|entry| entry.membership == Some(Membership::Join));
    joined.filter_map(|entry| UserId::try_from(&*entry.state_key).ok())
}

/// Whether the user of a member event was in the room before it.
fn was_member(event: &TimelineEvent) -> bool {
    #[derive(serde::Deserialize)]
    struct Content<'c> {
        membership: std::borrow::Cow<'c, str>,
    }
    event.replaced.as_ref().is_some_and(|replaced| {
        serde_json::from_str::<Content<'_>>(&replaced.content_json).is_ok_and(|content| content.membership == "join")
    })
}
