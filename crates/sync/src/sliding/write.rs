//! Writes a response of simplified sliding sync as JSON, in the form of the request.

use std::collections::BTreeMap;

use plexus_protocol::event::client::{basic_event_json, stripped_json};
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::ObjectWriter;
use plexus_protocol::membership::Membership;
use plexus_rooms::{ClientFormat, TimelineEvent};

use super::extensions::{AccountDataUpdate, E2eeUpdate, ExtensionUpdates, StickyUpdate, ToDeviceUpdate};
use super::lists::Selection;
use super::pos::Pos;
use super::request::Form;
use super::room::{Hero, RoomUpdate, Update};
use crate::delta::{AccountData, ProfileUpdate, ProfileUpdates, TimelineDelta};
use plexus_store::RoomNid;

/// What a response says.
pub(super) struct Response<'r> {
    pub pos: Pos,
    pub selection: &'r Selection,
    pub rooms: &'r BTreeMap<RoomNid, RoomUpdate>,
    pub extensions: &'r ExtensionUpdates,
}

/// The form of a response, and who reads it.
pub(super) struct Writer<'w> {
    pub form: Form,
    pub format: ClientFormat<'w>,
}

impl Writer<'_> {
    /// Returns the body of a response.
    pub(super) fn response(&self, response: &Response<'_>) -> String {
        let mut body = String::with_capacity(4096);
        let mut members = ObjectWriter::open(&mut body);
        members.string("pos", &response.pos.to_string());
        let mut lists = ObjectWriter::open(members.key("lists"));
        for (name, count) in &response.selection.counts {
            let mut list = ObjectWriter::open(lists.key(name));
            list.number("count", count);
            list.close();
        }
        lists.close();
        let mut rooms = ObjectWriter::open(members.key("rooms"));
        for (nid, update) in response.rooms {
            if let Some(relevant) = response.selection.rooms.get(nid) {
                self.room(rooms.key(relevant.known.facts.id.as_str()), update, &relevant.lists);
            }
        }
        rooms.close();
        self.extensions(members.key("extensions"), response.extensions);
        members.close();
        // A slow reader holds all of it.
        body.shrink_to_fit();
        body
    }

    fn room(&self, out: &mut String, update: &RoomUpdate, lists: &[String]) {
        let mut members = ObjectWriter::open(out);
        if update.initial {
            members.raw("initial", "true");
        }
        write_update(&mut members, "name", &update.name);
        write_update(&mut members, "avatar", &update.avatar);
        if let Some(heroes) = update.heroes.as_ref().filter(|heroes| !heroes.is_empty()) {
            let heroes: Vec<String> = heroes.iter().map(hero).collect();
            members.array("heroes", heroes.iter().map(String::as_str));
        }
        if let Some(is_dm) = update.is_dm {
            members.raw("is_dm", boolean(is_dm));
        }
        if let Some(counts) = update.members {
            members.number("joined_count", counts.joined);
            members.number("invited_count", counts.invited);
        }
        if let Some(bump_stamp) = update.bump_stamp {
            members.number("bump_stamp", bump_stamp);
        }
        let mut events: Vec<String> = update.required_state.iter().map(|event| self.event(event, None, None)).collect();
        if self.form == Form::Stable {
            events.extend(update.removed_state.iter().map(state_stub));
        }
        if !events.is_empty() {
            members.array("required_state", events.iter().map(String::as_str));
        }
        if let Some(timeline) = &update.timeline {
            self.timeline(&mut members, timeline);
            members.number("num_live", update.num_live);
        }
        if let Some(stripped) = &update.stripped {
            let name = if self.form == Form::Stable { "stripped_state" } else { "invite_state" };
            let member = stripped_json(&stripped.member.pdu);
            members.array(name, stripped.state.iter().map(String::as_str).chain([member.as_str()]));
        }
        match self.form {
            Form::Stable => self.stable_members(&mut members, update, lists),
            Form::Unstable => self.unstable_members(&mut members, update),
        }
        members.close();
    }

    fn stable_members(&self, out: &mut ObjectWriter<'_>, update: &RoomUpdate, lists: &[String]) {
        out.string("membership", update.membership.as_str());
        if !lists.is_empty() {
            out.strings("lists", lists.iter().map(String::as_str));
        }
        if update.expanded {
            out.raw("expanded_timeline", "true");
        }
        if let Some(unread) = &update.unread {
            out.number("notification_count", unread.main.notifications);
            out.number("highlight_count", unread.main.highlights);
        }
    }

    fn unstable_members(&self, out: &mut ObjectWriter<'_>, update: &RoomUpdate) {
        if update.expanded {
            out.raw("unstable_expanded_timeline", "true");
        }
        if let Some(unread) = &update.unread {
            let total = unread.total();
            out.number("notification_count", total.notifications);
            out.number("highlight_count", total.highlights);
        }
    }

    fn timeline(&self, out: &mut ObjectWriter<'_>, timeline: &TimelineDelta) {
        let events = timeline.events.iter().map(|event| {
            let relations = timeline.relations.get(&event.nid).map(String::as_str);
            let membership = timeline.memberships.get(&event.nid).unwrap_or(&Membership::Join);
            self.event(event, Some(membership.as_str()), relations)
        });
        let events: Vec<String> = events.collect();
        let name = if self.form == Form::Stable { "timeline_events" } else { "timeline" };
        out.array(name, events.iter().map(String::as_str));
        out.raw("limited", boolean(timeline.limited));
        out.string("prev_batch", &timeline.prev_batch.to_string());
    }

    fn event(&self, event: &TimelineEvent, membership: Option<&str>, relations: Option<&str>) -> String {
        let mut json = String::with_capacity(event.pdu.content_json().len() + 512);
        event.write_client(&mut json, &self.format, membership, relations);
        json
    }

    fn extensions(&self, out: &mut String, updates: &ExtensionUpdates) {
        let mut members = ObjectWriter::open(out);
        if let Some(update) = &updates.to_device {
            write_to_device(members.key("to_device"), update);
        }
        if let Some(update) = &updates.e2ee {
            write_e2ee(members.key("e2ee"), update);
        }
        if let Some(update) = updates.account_data.as_ref().filter(|update| !update.is_empty()) {
            write_account_data(members.key("account_data"), update);
        }
        if !updates.thread_subscriptions.is_empty() {
            let mut extension = ObjectWriter::open(members.key("io.element.msc4308.thread_subscriptions"));
            updates.thread_subscriptions.write(&mut extension);
            if let Some(before) = updates.thread_subscriptions.before {
                extension.string("prev_batch", &format!("s{before}"));
            }
            extension.close();
        }
        for (name, rooms) in [("receipts", &updates.receipts), ("typing", &updates.typing)] {
            if !rooms.is_empty() {
                let mut extension = ObjectWriter::open(members.key(name));
                write_rooms(extension.key("rooms"), rooms, |event, out| out.push_str(event));
                extension.close();
            }
        }
        if !updates.profiles.is_empty() {
            write_profiles(members.key("org.matrix.msc4262.profiles"), &updates.profiles);
        }
        if let Some(update) = updates.sticky.as_ref().filter(|update| !update.rooms.is_empty() || update.has_more) {
            self.sticky_events(members.key("org.matrix.msc4354.sticky_events"), update);
        }
        members.close();
    }

    fn sticky_events(&self, out: &mut String, update: &StickyUpdate) {
        let mut members = ObjectWriter::open(out);
        members.string("next_batch", &update.next_batch.to_string());
        write_rooms(members.key("rooms"), &update.rooms, |events, out| {
            let events: Vec<String> = events.iter().map(|event| self.event(event, None, None)).collect();
            let mut room = ObjectWriter::open(out);
            room.array("events", events.iter().map(String::as_str));
            room.close();
        });
        members.close();
    }
}

fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn write_update(out: &mut ObjectWriter<'_>, name: &str, update: &Update<String>) {
    match update {
        Update::Unchanged => {}
        Update::Removed => out.raw(name, "null"),
        Update::Set(value) => out.string(name, value),
    }
}

/// Returns the stub of state that was removed.
fn state_stub((event_type, state_key): &(String, String)) -> String {
    let mut out = String::new();
    let mut members = ObjectWriter::open(&mut out);
    members.string("state_key", state_key);
    members.string("type", event_type);
    members.close();
    out
}

fn hero(hero: &Hero) -> String {
    let mut out = String::new();
    let mut members = ObjectWriter::open(&mut out);
    members.string("user_id", &hero.user_id);
    for (name, value) in [("displayname", &hero.displayname), ("avatar_url", &hero.avatar_url)] {
        if let Some(value) = value {
            members.string(name, value);
        }
    }
    members.close();
    out
}

fn write_rooms<T>(out: &mut String, rooms: &BTreeMap<RoomId, T>, write: impl Fn(&T, &mut String)) {
    let mut members = ObjectWriter::open(out);
    rooms.iter().for_each(|(id, value)| write(value, members.key(id.as_str())));
    members.close();
}

fn write_to_device(out: &mut String, update: &ToDeviceUpdate) {
    let mut members = ObjectWriter::open(out);
    members.string("next_batch", &update.next_batch.to_string());
    members.array("events", update.events.iter().map(String::as_str));
    members.close();
}

fn write_e2ee(out: &mut String, update: &E2eeUpdate) {
    let mut members = ObjectWriter::open(out);
    let lists = &update.device_lists;
    if !lists.is_empty() {
        let mut device_lists = ObjectWriter::open(members.key("device_lists"));
        for (name, users) in [("changed", &lists.changed), ("left", &lists.left)] {
            device_lists.strings(name, users.iter().map(UserId::as_str));
        }
        device_lists.close();
    }
    if let Some(counts) = &update.key_counts {
        members.raw("device_one_time_keys_count", &counts.one_time_keys);
        members.raw("device_unused_fallback_key_types", &counts.unused_fallback_keys);
    }
    members.close();
}

fn write_profiles(out: &mut String, updates: &ProfileUpdates) {
    let mut members = ObjectWriter::open(out);
    let mut users = ObjectWriter::open(members.key("users"));
    for (user, update) in updates {
        let ProfileUpdate::Fields(fields) = update else {
            users.raw(user.as_str(), "null");
            continue;
        };
        let mut changes = ObjectWriter::open(users.key(user.as_str()));
        if fields.values().any(Option::is_some) {
            let mut updated = ObjectWriter::open(changes.key("updated"));
            for (field, value) in fields {
                if let Some(value) = value {
                    updated.raw(field, value);
                }
            }
            updated.close();
        }
        if fields.values().any(Option::is_none) {
            let removed = fields.iter().filter(|(_, value)| value.is_none());
            changes.strings("removed", removed.map(|(field, _)| field.as_str()));
        }
        changes.close();
    }
    users.close();
    members.close();
}

fn write_account_data(out: &mut String, update: &AccountDataUpdate) {
    let events = |data: &[AccountData]| -> Vec<String> {
        data.iter().map(|data| basic_event_json(&data.event_type, &data.content)).collect()
    };
    let mut members = ObjectWriter::open(out);
    let global = events(&update.global);
    members.array("global", global.iter().map(String::as_str));
    write_rooms(members.key("rooms"), &update.rooms, |data, out| {
        plexus_protocol::json::write_array(events(data).iter().map(String::as_str), out);
    });
    members.close();
}
