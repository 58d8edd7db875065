//! Writes a [`SyncDelta`] as the JSON of `GET /_matrix/client/v3/sync`
//! (<https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>).

use plexus_protocol::event::client::basic_event_json;
use plexus_protocol::event::sticky;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::{ObjectWriter, write_string};
use plexus_protocol::membership::Membership;
use plexus_rooms::TimelineEvent;

use super::fields;
use crate::delta::{
    AccountData, DeltaRequest, DeviceListDelta, EphemeralDelta, EventList, JoinedRoomDelta, KeyCounts, LeftRoomDelta,
    ProfileUpdate, ProfileUpdates, RoomDelta, RoomSink, StrippedRoomDelta, Summary, SyncDelta, TimelineDelta,
};
use crate::filter::EventFormat;
use crate::token::SyncToken;
use crate::unread::{Count, RoomCounts};
use crate::{presence, receipts, typing};

/// Returns the body of a response.
pub(super) fn response(delta: SyncDelta<RoomsWriter<'_>>, now_ms: u64) -> String {
    let mut body = String::with_capacity(4096);
    let mut members = ObjectWriter::open(&mut body);
    let next_batch =
        SyncToken { to_device: delta.messages.more_after, sticky: delta.sticky_after, ..delta.upto.token() };
    members.string("next_batch", &next_batch.to_string());
    if !delta.account_data.is_empty() {
        write_account_data(&mut members, &delta.account_data);
    }
    if !delta.presence.is_empty() {
        let events: Vec<String> =
            delta.presence.iter().map(|(user, view)| presence::event(user, view, now_ms)).collect();
        members.events("presence", events.iter().map(String::as_str));
    }
    if !delta.profiles.is_empty() {
        write_profiles(members.key("org.matrix.msc4429.users"), &delta.profiles);
    }
    if !delta.messages.events.is_empty() {
        members.events("to_device", delta.messages.events.iter().map(String::as_str));
    }
    write_device_lists(&mut members, &delta.device_lists);
    delta.rooms.finish(&mut members);
    write_key_counts(&mut members, delta.key_counts.as_deref());
    members.close();
    // A slow reader holds all of it.
    body.shrink_to_fit();
    body
}

fn write_profiles(out: &mut String, profiles: &ProfileUpdates) {
    let mut users = ObjectWriter::open(out);
    for (user, update) in profiles {
        let mut members = ObjectWriter::open(users.key(user.as_str()));
        match update {
            ProfileUpdate::Left => members.raw("profile_updates", "null"),
            ProfileUpdate::Fields(fields) => {
                let mut updates = ObjectWriter::open(members.key("profile_updates"));
                for (field, value) in fields {
                    updates.raw(field, value.as_deref().unwrap_or("null"));
                }
                updates.close();
            }
        }
        members.close();
    }
    users.close();
}

/// Returns the body of a response without changes.
pub(super) fn response_without_changes(next_batch: SyncToken, key_counts: Option<&KeyCounts>) -> String {
    let mut body = String::with_capacity(256);
    let mut members = ObjectWriter::open(&mut body);
    members.string("next_batch", &next_batch.to_string());
    write_key_counts(&mut members, key_counts);
    members.close();
    body
}

/// Writes rooms as they are read, so that only one room's events are in memory.
pub(super) struct RoomsWriter<'w> {
    writer: Writer<'w>,
    joined: Section,
    invited: Section,
    knocked: Section,
    left: Section,
}

/// The rooms of one section of `rooms`: the members of a JSON object.
#[derive(Default)]
struct Section(String);

impl<'w> RoomsWriter<'w> {
    pub(super) fn new(request: &'w DeltaRequest, now_ms: u64) -> Self {
        let [joined, invited, knocked, left] = <[Section; 4]>::default();
        Self { writer: Writer { request, now_ms }, joined, invited, knocked, left }
    }

    fn finish(self, out: &mut ObjectWriter<'_>) {
        if self.is_empty() {
            return;
        }
        let mut members = ObjectWriter::open(out.key("rooms"));
        let Self { joined, invited, knocked, left, .. } = self;
        for (name, Section(rooms)) in [("join", joined), ("invite", invited), ("knock", knocked), ("leave", left)] {
            if !rooms.is_empty() {
                let out = members.key(name);
                out.push('{');
                out.push_str(&rooms);
                out.push('}');
            }
        }
        members.close();
    }
}

impl RoomSink for RoomsWriter<'_> {
    fn add(&mut self, room_id: &RoomId, room: RoomDelta) {
        let Self { writer, joined, invited, knocked, left } = self;
        match room {
            RoomDelta::Joined(room) => writer.joined(joined.key(room_id), &room),
            RoomDelta::Invited(room) => writer.stripped(invited.key(room_id), "invite_state", &room),
            RoomDelta::Knocked(room) => writer.stripped(knocked.key(room_id), "knock_state", &room),
            RoomDelta::Left(room) => writer.left(left.key(room_id), &room),
        }
    }

    fn is_empty(&self) -> bool {
        [&self.joined, &self.invited, &self.knocked, &self.left].iter().all(|section| section.0.is_empty())
    }
}

impl Section {
    /// Appends `"room_id":` and returns the buffer for the room.
    fn key(&mut self, room_id: &RoomId) -> &mut String {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        write_string(room_id.as_str(), &mut self.0);
        self.0.push(':');
        &mut self.0
    }
}

struct Writer<'w> {
    request: &'w DeltaRequest,
    now_ms: u64,
}

impl Writer<'_> {
    fn joined(&self, out: &mut String, room: &JoinedRoomDelta) {
        let mut members = ObjectWriter::open(out);
        if let Some(summary) = &room.summary {
            write_summary(&mut members, summary);
        }
        self.state(&mut members, &room.state);
        self.timeline(&mut members, &room.timeline);
        if !room.sticky.is_empty() {
            let events: Vec<String> = room.sticky.iter().map(|event| self.event(event, None, None)).collect();
            members.events(sticky::MEMBER, events.iter().map(String::as_str));
        }
        self.ephemeral(&mut members, &room.ephemeral);
        write_account_data(&mut members, &room.account_data);
        self.counts(&mut members, &room.counts);
        members.close();
    }

    fn left(&self, out: &mut String, room: &LeftRoomDelta) {
        let mut members = ObjectWriter::open(out);
        self.state(&mut members, &room.state);
        self.timeline(&mut members, &room.timeline);
        write_account_data(&mut members, &room.account_data);
        members.close();
    }

    fn stripped(&self, out: &mut String, name: &str, room: &StrippedRoomDelta) {
        let mut members = ObjectWriter::open(out);
        let member = self.event(&room.member, None, None);
        members.events(name, room.state.iter().map(String::as_str).chain([member.as_str()]));
        members.close();
    }

    fn state(&self, out: &mut ObjectWriter<'_>, state: &EventList) {
        let name = if self.request.state_after { "state_after" } else { "state" };
        let events: Vec<String> = state.iter().map(|event| self.event(event, None, None)).collect();
        out.events(name, events.iter().map(String::as_str));
    }

    fn timeline(&self, out: &mut ObjectWriter<'_>, timeline: &TimelineDelta) {
        let mut members = ObjectWriter::open(out.key("timeline"));
        let events: Vec<String> = timeline
            .events
            .iter()
            .map(|event| {
                let relations = timeline.relations.get(&event.nid).map(String::as_str);
                let membership = timeline.memberships.get(&event.nid).unwrap_or(&Membership::Join);
                self.event(event, Some(membership.as_str()), relations)
            })
            .collect();
        members.array("events", events.iter().map(String::as_str));
        members.raw("limited", if timeline.limited { "true" } else { "false" });
        members.string("prev_batch", &timeline.prev_batch.to_string());
        members.close();
    }

    fn ephemeral(&self, out: &mut ObjectWriter<'_>, ephemeral: &EphemeralDelta) {
        let typing = ephemeral.typing.as_ref().map(typing::event);
        let receipts = receipts::event(ephemeral.receipts.iter().map(|receipt| &**receipt));
        out.events("ephemeral", typing.iter().chain(&receipts).map(String::as_str));
    }

    fn counts(&self, out: &mut ObjectWriter<'_>, counts: &RoomCounts) {
        let by_thread = self.request.filter.room.timeline.unread_thread_notifications;
        write_count(out.key("unread_notifications"), if by_thread { counts.main } else { counts.total() });
        if by_thread && !counts.threads.is_empty() {
            let mut threads = ObjectWriter::open(out.key("unread_thread_notifications"));
            counts.threads.iter().for_each(|(root, count)| write_count(threads.key(root), *count));
            threads.close();
        }
    }

    /// Returns the JSON of an event for this device. `membership` is the user's at the event, `relations` its
    /// aggregations.
    fn event(&self, event: &TimelineEvent, membership: Option<&str>, relations: Option<&str>) -> String {
        let filter = &self.request.filter;
        let json = match filter.event_format {
            EventFormat::Federation => event.pdu.json().to_owned(),
            EventFormat::Client => {
                let mut json = String::with_capacity(event.pdu.content_json().len() + 512);
                event.write_client(&mut json, &self.request.format(self.now_ms), membership, relations);
                json
            }
        };
        match &filter.event_fields {
            Some(wanted) => fields::select(&json, wanted),
            None => json,
        }
    }
}

fn write_account_data(out: &mut ObjectWriter<'_>, account_data: &[AccountData]) {
    let events: Vec<String> =
        account_data.iter().map(|data| basic_event_json(&data.event_type, &data.content)).collect();
    out.events("account_data", events.iter().map(String::as_str));
}

fn write_summary(out: &mut ObjectWriter<'_>, summary: &Summary) {
    let mut members = ObjectWriter::open(out.key("summary"));
    if !summary.heroes.is_empty() {
        members.strings("m.heroes", summary.heroes.iter().map(UserId::as_str));
    }
    members.number("m.joined_member_count", summary.joined_members);
    members.number("m.invited_member_count", summary.invited_members);
    members.close();
}

fn write_count(out: &mut String, count: Count) {
    let mut members = ObjectWriter::open(out);
    members.number("highlight_count", count.highlights);
    members.number("notification_count", count.notifications);
    members.close();
}

fn write_device_lists(out: &mut ObjectWriter<'_>, lists: &DeviceListDelta) {
    if lists.is_empty() {
        return;
    }
    let mut members = ObjectWriter::open(out.key("device_lists"));
    for (name, users) in [("changed", &lists.changed), ("left", &lists.left)] {
        members.strings(name, users.iter().map(UserId::as_str));
    }
    members.close();
}

fn write_key_counts(out: &mut ObjectWriter<'_>, counts: Option<&KeyCounts>) {
    if let Some(counts) = counts {
        out.raw("device_one_time_keys_count", &counts.one_time_keys);
        out.raw("device_unused_fallback_key_types", &counts.unused_fallback_keys);
    }
}
