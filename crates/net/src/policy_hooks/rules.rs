//! The callbacks of Synapse's third-party rules.

use plexus_base::config::PolicyCallback;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::Object;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{PolicyHooks, PolicyRefusal, client_event};

/// State events of a room.
pub type RoomState = Vec<Pdu>;

/// What a hook says about an event that it allows.
#[derive(Debug, Clone, PartialEq)]
pub enum AllowedEvent {
    /// It is sent as it is.
    Unchanged,
    /// It is sent with this content.
    WithContent(Box<Object>),
}

#[derive(Serialize)]
struct EventInState {
    event: Box<RawValue>,
    state_events: Vec<Box<RawValue>>,
}

impl EventInState {
    fn new(event: &Pdu, state: &[Pdu]) -> Result<Self, PolicyRefusal> {
        Ok(Self { event: client_event(event)?, state_events: client_events(state)? })
    }
}

#[derive(Serialize)]
struct VisibilityInState<'a> {
    room_id: &'a RoomId,
    state_events: Vec<Box<RawValue>>,
    new_visibility: &'static str,
}

fn client_events(pdus: &[Pdu]) -> Result<Vec<Box<RawValue>>, PolicyRefusal> {
    pdus.iter().map(client_event).collect()
}

impl PolicyHooks {
    /// Whether a local user's event is allowed in the state of its room.
    ///
    /// # Errors
    /// When a hook refuses it; the same for the other methods.
    pub async fn check_event_allowed(&self, event: &Pdu, state: &[Pdu]) -> Result<AllowedEvent, PolicyRefusal> {
        let response = self.ask(PolicyCallback::CheckEventAllowed, &EventInState::new(event, state)?).await?;
        let content = response.get("event").and_then(|event| event.get("content")).filter(|it| it.is_object());
        let content = content.and_then(|content| Object::parse(&content.to_string()).ok());
        Ok(match content.filter(|content| content != event.content()) {
            Some(content) => AllowedEvent::WithContent(Box::new(content)),
            None => AllowedEvent::Unchanged,
        })
    }

    /// Whether a room may be created with these parameters.
    pub async fn on_create_room(
        &self,
        user: &UserId,
        room_config: &Value,
        is_admin: bool,
    ) -> Result<(), PolicyRefusal> {
        let body = json!({"user_id": user, "room_config": room_config, "is_requester_admin": is_admin});
        self.ask(PolicyCallback::OnCreateRoom, &body).await.map(drop)
    }

    /// Whether a room may be listed in the room directory (`is_public`), or taken out of it.
    pub async fn check_visibility_can_be_modified(
        &self,
        room: &RoomId,
        state: &[Pdu],
        is_public: bool,
    ) -> Result<(), PolicyRefusal> {
        let new_visibility = if is_public { "public" } else { "private" };
        let body = VisibilityInState { room_id: room, state_events: client_events(state)?, new_visibility };
        self.ask(PolicyCallback::CheckVisibilityCanBeModified, &body).await.map(drop)
    }

    /// Whether a user may be deactivated.
    pub async fn check_can_deactivate_user(&self, user: &UserId, by_admin: bool) -> Result<(), PolicyRefusal> {
        let body = json!({"user_id": user, "by_admin": by_admin});
        self.ask(PolicyCallback::CheckCanDeactivateUser, &body).await.map(drop)
    }

    /// Says that a user's profile has changed, and what name and avatar are in it now.
    pub fn on_profile_update(&self, user: &UserId, display_name: Option<&str>, avatar_url: Option<&str>) {
        let new_profile = json!({"display_name": display_name, "avatar_url": avatar_url});
        let body = json!({"user_id": user, "new_profile": new_profile, "by_admin": false, "deactivation": false});
        self.notify(PolicyCallback::OnProfileUpdate, &body);
    }

    /// Says that a user has been deactivated.
    pub fn on_user_deactivated(&self, user: &UserId, by_admin: bool) {
        let body = json!({"user_id": user, "deactivated": true, "by_admin": by_admin});
        self.notify(PolicyCallback::OnUserDeactivationStatusChanged, &body);
    }
}
