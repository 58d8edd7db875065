//! Rooms the user is invited to or has knocked on: what may be known of them from outside.

use std::sync::Arc;

use plexus_rooms::{Room, RoomMembership, TimelineEvent};
use plexus_store::DbError;

use super::build::Build;
use crate::json::Members;

impl Build<'_> {
    /// An invite; `None` when it came from an ignored user.
    pub(super) async fn invited(
        &self,
        room: &Arc<Room>,
        membership: &RoomMembership,
    ) -> Result<Option<String>, DbError> {
        let Some(invite) = self.own_member_event(room).await? else { return Ok(None) };
        if self.settings.ignored.contains(invite.pdu.sender().as_str()) || membership.position > self.now.position {
            return Ok(None);
        }
        let sender = invite.pdu.sender();
        let inviter = Some(sender).filter(|sender| **sender != self.request.user);
        let mut events = self.parts().rooms.describe(room, &invite.pdu, inviter).await?;
        events.push(self.event_json(&invite, None, None));
        Ok(Some(wrapped("invite_state", &events)))
    }

    /// A knock that has not been answered.
    pub(super) async fn knocked(
        &self,
        room: &Arc<Room>,
        membership: &RoomMembership,
    ) -> Result<Option<String>, DbError> {
        let Some(knock) = self.own_member_event(room).await? else { return Ok(None) };
        if membership.position > self.now.position {
            return Ok(None);
        }
        let mut events = self.parts().rooms.describe(room, &knock.pdu, None).await?;
        events.push(self.event_json(&knock, None, None));
        Ok(Some(wrapped("knock_state", &events)))
    }

    async fn own_member_event(&self, room: &Room) -> Result<Option<Arc<TimelineEvent>>, DbError> {
        match room.view().state.get("m.room.member", self.request.user.as_str()) {
            Some(entry) => room.readable_state_event(entry).await,
            None => Ok(None),
        }
    }
}

fn wrapped(name: &str, events: &[String]) -> String {
    let mut out = String::with_capacity(1024);
    let mut members = Members::open(&mut out);
    members.events(name, events.iter().map(String::as_str));
    members.close();
    out
}
