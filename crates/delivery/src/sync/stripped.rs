//! Rooms the user is invited to or has knocked on: what may be known of them from outside.

use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_rooms::{Membership, Room, TimelineEvent};
use plexus_store::DbError;

use super::build::Build;
use crate::json::Members;

/// The state that describes a room to somebody who is not in it (client-server API, Stripped State).
const DESCRIBING: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

impl Build<'_> {
    /// An invite; `None` when it came from an ignored user.
    pub(super) async fn invited(&self, room: &Arc<Room>, membership: &Membership) -> Result<Option<String>, DbError> {
        let Some(invite) = self.own_member_event(room).await? else { return Ok(None) };
        if self.settings.ignored.contains(invite.pdu.sender().as_str()) || membership.position > self.now.position {
            return Ok(None);
        }
        let mut events = self.describe(room, &invite).await?;
        events.push(self.event_json(&invite, None, None));
        Ok(Some(wrapped("invite_state", &events)))
    }

    /// A knock that has not been answered.
    pub(super) async fn knocked(&self, room: &Arc<Room>, membership: &Membership) -> Result<Option<String>, DbError> {
        let Some(knock) = self.own_member_event(room).await? else { return Ok(None) };
        if membership.position > self.now.position {
            return Ok(None);
        }
        let mut events = self.describe(room, &knock).await?;
        events.push(self.event_json(&knock, None, None));
        Ok(Some(wrapped("knock_state", &events)))
    }

    async fn own_member_event(&self, room: &Room) -> Result<Option<Arc<TimelineEvent>>, DbError> {
        match room.view().state.get("m.room.member", self.request.user.as_str()) {
            Some(entry) => room.state_event(entry).await.map(Some),
            None => Ok(None),
        }
    }

    /// The describing state, and the member event of whoever sent `event`. Of a room on another server only what came
    /// with the event is known.
    async fn describe(&self, room: &Room, event: &TimelineEvent) -> Result<Vec<String>, DbError> {
        let view = room.view();
        if view.state.get("m.room.create", "").is_none() {
            return Ok(sent_along(&event.pdu));
        }
        let mut events = Vec::new();
        for event_type in DESCRIBING {
            if let Some(entry) = view.state.get(event_type, "") {
                events.push(stripped(&room.state_event(entry).await?.pdu));
            }
        }
        let sender = event.pdu.sender();
        if *sender != self.request.user
            && let Some(entry) = view.state.get("m.room.member", sender.as_str())
        {
            events.push(stripped(&room.state_event(entry).await?.pdu));
        }
        Ok(events)
    }
}

/// What the other server sent along with an invite or knock.
fn sent_along(pdu: &Pdu) -> Vec<String> {
    let state = |name| pdu.unsigned().and_then(|unsigned| unsigned.get(name)).and_then(|state| state.as_array());
    let state = state("invite_room_state").or_else(|| state("knock_room_state"));
    state.into_iter().flatten().map(plexus_protocol::json::Value::to_json).collect()
}

/// A state event without what only members may know.
fn stripped(pdu: &Pdu) -> String {
    let mut out = String::with_capacity(pdu.content_json().len() + 128);
    let mut event = Members::open(&mut out);
    event.raw("content", pdu.content_json());
    event.text("sender", pdu.sender().as_str());
    event.text("state_key", pdu.state_key().unwrap_or_default());
    event.text("type", pdu.event_type());
    event.close();
    out
}

fn wrapped(name: &str, events: &[String]) -> String {
    let mut out = String::with_capacity(1024);
    let mut members = Members::open(&mut out);
    members.events(name, events.iter().map(String::as_str));
    members.close();
    out
}
