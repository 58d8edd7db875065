//! The bodies of requests to push gateways
//! (<https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify>).

use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, ObjectWriter, Value};
use plexus_protocol::membership::Membership;
use plexus_protocol::push_rules::{Action, Actions};
use plexus_rooms::{Room, Rooms, TimelineEvent, heroes_among};
use plexus_store::DbError;
use plexus_store::repo::pushers::Pusher;

/// How a pusher's data has its notifications.
#[derive(Debug)]
pub(super) struct PusherData {
    /// Without the `url`, as JSON.
    json: String,
    /// Whether notifications have the event's id only.
    event_id_only: bool,
    /// Whether notifications have no counts (MSC4076).
    pub(super) disables_badge: bool,
}

impl PusherData {
    /// Returns the address of the gateway, and the rest of the data of a pusher.
    pub(super) fn parse(data: &str) -> Option<(String, Self)> {
        let mut data = Object::parse(data).ok()?;
        let Some(Value::String(url)) = data.remove("url") else { return None };
        let event_id_only = data.get_str("format") == Some("event_id_only");
        let disables_badge = data.get_bool("org.matrix.msc4076.disable_badge_count") == Some(true);
        Some((url, Self { json: data.to_json(), event_id_only, disables_badge }))
    }
}

/// A notification about an event.
pub(super) struct EventNotification<'a> {
    pub(super) user: &'a UserId,
    pub(super) room: &'a Room,
    pub(super) event: &'a TimelineEvent,
    pub(super) actions: &'a Actions,
    /// `None` if the pusher wants no counts.
    pub(super) badge: Option<u64>,
}

/// Returns a body that only has the badge.
pub(super) fn badge_body(pusher: &Pusher, data: &PusherData, badge: u64) -> String {
    body(|members| {
        members.string("id", "");
        members.raw("type", "null");
        members.string("sender", "");
        write_counts(members, badge);
        write_device(members, pusher, data, None);
    })
}

impl EventNotification<'_> {
    /// Returns the body, with the event's content if `include_content`.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn body(
        &self,
        pusher: &Pusher,
        data: &PusherData,
        rooms: &Rooms,
        include_content: bool,
    ) -> Result<String, DbError> {
        if data.event_id_only {
            return Ok(self.ids(pusher, data));
        }
        let pdu = &self.event.pdu;
        let name = self.room_name(rooms).await?;
        let alias = self.room.view().content_str("m.room.canonical_alias", "alias").map(str::to_owned);
        let sender = display_name(self.room, pdu.sender()).await?;
        Ok(body(|members| {
            self.write_ids(members);
            // The former name of event_id, as Synapse has it.
            members.string("id", pdu.event_id().as_str());
            members.string("type", pdu.event_type());
            members.string("sender", pdu.sender().as_str());
            members.string("sender_display_name", sender.as_deref().unwrap_or(pdu.sender().as_str()));
            if let Some(name) = &name {
                members.string("room_name", name);
            }
            if let Some(alias) = &alias {
                members.string("room_alias", alias);
            }
            if let (Some(state_key), "m.room.member") = (pdu.state_key(), pdu.event_type()) {
                members.raw("user_is_target", if state_key == self.user.as_str() { "true" } else { "false" });
                if let Some(membership) = pdu.content().get_str("membership") {
                    members.string("membership", membership);
                }
            }
            if include_content && !pdu.content().is_empty() {
                members.raw("content", pdu.content_json());
            }
            write_device(members, pusher, data, Some(self.actions));
        }))
    }

    /// Returns a body that only says which event it is about.
    pub(super) fn ids(&self, pusher: &Pusher, data: &PusherData) -> String {
        body(|members| {
            self.write_ids(members);
            write_device(members, pusher, data, None);
        })
    }

    fn write_ids(&self, members: &mut ObjectWriter<'_>) {
        members.string("event_id", self.event.pdu.event_id().as_str());
        members.string("room_id", self.room.id.as_str());
        members.string("prio", if self.is_urgent() { "high" } else { "low" });
        if let Some(badge) = self.badge {
            write_counts(members, badge);
        }
    }

    /// Whether the app is to be woken at once: the notification makes itself felt, or only the app can tell.
    fn is_urgent(&self) -> bool {
        let Actions { highlight, sound, .. } = self.actions;
        *highlight || sound.is_some() || self.event.pdu.event_type() == "m.room.encrypted"
    }

    /// Returns the name of the room: its own, its alias, or one made of its other members if there are several.
    async fn room_name(&self, rooms: &Rooms) -> Result<Option<String>, DbError> {
        let view = self.room.view();
        if view.event_in_memory("m.room.create", "").is_none() {
            // A room of other servers: what the invite says about it.
            let stripped = rooms.stripped_state(self.room, &self.event.pdu, None).await?;
            return Ok(stripped_name(&stripped));
        }
        let own = |event_type, member| view.content_str(event_type, member).filter(|name| !name.is_empty());
        if let Some(name) = own("m.room.name", "name").or_else(|| own("m.room.canonical_alias", "alias")) {
            return Ok(Some(name.to_owned()));
        }
        let members = || view.state.of_type("m.room.member").map(|entry| (&*entry.state_key, entry.membership));
        let is_present = |kind| matches!(kind, Some(Membership::Join | Membership::Invite));
        let heroes = heroes_among(|| members().filter(|(_, kind)| is_present(*kind)), self.user);
        let [first, second, ..] = heroes.as_slice() else { return Ok(None) };
        let first = display_name(self.room, first).await?.unwrap_or_else(|| first.to_string());
        let others = (view.joined_count + view.invited_count).saturating_sub(2);
        if others > 1 {
            return Ok(Some(format!("{first} and {others} others")));
        }
        let second = display_name(self.room, second).await?.unwrap_or_else(|| second.to_string());
        Ok(Some(format!("{first} and {second}")))
    }
}

/// Returns the display name of a member of a room.
async fn display_name(room: &Room, user: &UserId) -> Result<Option<String>, DbError> {
    let view = room.view();
    let Some(entry) = view.state.get("m.room.member", user.as_str()) else { return Ok(None) };
    let member = room.readable_state_event(entry).await?;
    let name = member.as_ref().and_then(|member| member.pdu.content().get_str("displayname"));
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

fn stripped_name(stripped: &[String]) -> Option<String> {
    let events: Vec<Object> = stripped.iter().filter_map(|event| Object::parse(event).ok()).collect();
    let own = |event_type: &str, member: &str| {
        let event = events.iter().find(|event| event.get_str("type") == Some(event_type))?;
        event.get_object("content")?.get_str(member).filter(|name| !name.is_empty()).map(str::to_owned)
    };
    own("m.room.name", "name").or_else(|| own("m.room.canonical_alias", "alias"))
}

fn body(write: impl FnOnce(&mut ObjectWriter<'_>)) -> String {
    let mut out = String::new();
    let mut outer = ObjectWriter::open(&mut out);
    let mut members = ObjectWriter::open(outer.key("notification"));
    write(&mut members);
    members.close();
    outer.close();
    out
}

fn write_counts(members: &mut ObjectWriter<'_>, badge: u64) {
    let mut counts = ObjectWriter::open(members.key("counts"));
    counts.number("unread", badge);
    counts.close();
}

fn write_device(members: &mut ObjectWriter<'_>, pusher: &Pusher, data: &PusherData, actions: Option<&Actions>) {
    let mut device = String::new();
    let mut of_device = ObjectWriter::open(&mut device);
    of_device.string("app_id", &pusher.app_id);
    of_device.string("pushkey", &pusher.pushkey);
    of_device.number("pushkey_ts", pusher.set_ts / 1_000);
    of_device.raw("data", &data.json);
    if let Some(tweaks) = actions.and_then(tweaks) {
        of_device.raw("tweaks", &tweaks);
    }
    of_device.close();
    members.array("devices", [device.as_str()]);
}

/// Returns the tweaks of the actions as JSON; `None` if there are none. One without a value is true.
fn tweaks(actions: &Actions) -> Option<String> {
    let mut out = String::new();
    let mut members = ObjectWriter::open(&mut out);
    let mut any = false;
    for action in &actions.all {
        if let Action::SetTweak(tweak) = action {
            let value = tweak.value.as_ref().map_or_else(|| "true".to_owned(), ToString::to_string);
            members.raw(&tweak.set_tweak, &value);
            any = true;
        }
    }
    members.close();
    any.then_some(out)
}
