//! The callbacks of Synapse's spam checkers.

use plexus_base::config::PolicyCallback;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomAlias, RoomId, UserId};
use plexus_protocol::json::Object;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{PolicyHooks, PolicyRefusal, client_event};

#[derive(Serialize)]
struct AboutEvent {
    event: Box<RawValue>,
}

/// Where a request of a client comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(into = "(Option<String>, String)")]
pub struct ClientInfo {
    /// The `User-Agent`.
    pub user_agent: Option<String>,
    /// The address.
    pub address: String,
}

impl From<ClientInfo> for (Option<String>, String) {
    fn from(info: ClientInfo) -> Self {
        (info.user_agent, info.address)
    }
}

/// A user that was found in the user directory.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "the fields are those of a profile")]
pub struct UserProfile<'a> {
    pub user_id: &'a str,
    pub display_name: Option<&'a str>,
    pub avatar_url: Option<&'a str>,
}

/// A file that is about to be stored.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MediaFileInfo<'a> {
    /// The server that the file is from; `None` for an upload here.
    pub server_name: Option<&'a str>,
    /// The id of the media.
    pub media_id: &'a str,
    /// The uploader; `None` for another server's file.
    pub user_id: Option<&'a str>,
    /// The content type that the uploader gave.
    pub content_type: &'a str,
    /// The name that the uploader gave.
    pub upload_name: Option<&'a str>,
    /// In bytes.
    pub size: u64,
    /// The SHA-256 of the content, in lower-case hexadecimal digits.
    pub sha256: &'a str,
}

/// What a hook says about an account that is to be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationVerdict {
    /// It is registered.
    Allow,
    /// It is registered, and shadow-banned.
    ShadowBan,
}

impl PolicyHooks {
    /// Whether an event may be sent, or shown if it comes from another server.
    ///
    /// # Errors
    /// When a hook refuses it; the same for the other methods.
    pub async fn check_event_for_spam(&self, event: &Pdu) -> Result<(), PolicyRefusal> {
        let callback = PolicyCallback::CheckEventForSpam;
        if !self.asks(callback) {
            return Ok(());
        }
        self.ask_about(callback, event).await
    }

    async fn ask_about(&self, callback: PolicyCallback, event: &Pdu) -> Result<(), PolicyRefusal> {
        self.ask(callback, &AboutEvent { event: client_event(event)? }).await.map(drop)
    }

    /// Whether a received event is to be dropped.
    pub async fn should_drop_federated_event(&self, event: &Pdu) -> bool {
        let callback = PolicyCallback::ShouldDropFederatedEvent;
        self.asks(callback) && self.ask_about(callback, event).await.is_err()
    }

    /// Whether a user may join a room.
    pub async fn user_may_join_room(
        &self,
        user: &UserId,
        room: &RoomId,
        is_invited: bool,
    ) -> Result<(), PolicyRefusal> {
        let body = json!({"user": user, "room": room, "is_invited": is_invited});
        self.ask(PolicyCallback::UserMayJoinRoom, &body).await.map(drop)
    }

    /// Whether a local user may invite another user.
    pub async fn user_may_invite(&self, inviter: &UserId, invitee: &str, room: &RoomId) -> Result<(), PolicyRefusal> {
        let body = json!({"inviter": inviter, "invitee": invitee, "room_id": room});
        self.ask(PolicyCallback::UserMayInvite, &body).await.map(drop)
    }

    /// Whether a user of another server may invite a local one. As in Synapse, the hooks for local invites are asked
    /// too.
    pub async fn federated_user_may_invite(&self, invite: &Pdu) -> Result<(), PolicyRefusal> {
        let callback = PolicyCallback::FederatedUserMayInvite;
        if self.asks(callback) {
            self.ask_about(callback, invite).await?;
        }
        self.user_may_invite(invite.sender(), invite.state_key().unwrap_or_default(), invite.room_id()).await
    }

    /// Whether a user may create a room. `room_config`: the parameters of the request.
    pub async fn user_may_create_room(&self, user: &UserId, room_config: &Value) -> Result<(), PolicyRefusal> {
        let body = json!({"user_id": user, "room_config": room_config});
        self.ask(PolicyCallback::UserMayCreateRoom, &body).await.map(drop)
    }

    /// Whether a user may send a state event.
    pub async fn user_may_send_state_event(
        &self,
        user: &UserId,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
        content: &Object,
    ) -> Result<(), PolicyRefusal> {
        #[derive(Serialize)]
        struct Body<'a> {
            user_id: &'a UserId,
            room_id: &'a RoomId,
            event_type: &'a str,
            state_key: &'a str,
            content: &'a Object,
        }
        let body = Body { user_id: user, room_id: room, event_type, state_key, content };
        self.ask(PolicyCallback::UserMaySendStateEvent, &body).await.map(drop)
    }

    /// Whether a user may create a room alias.
    pub async fn user_may_create_room_alias(&self, user: &UserId, alias: &RoomAlias) -> Result<(), PolicyRefusal> {
        let body = json!({"user_id": user, "room_alias": alias});
        self.ask(PolicyCallback::UserMayCreateRoomAlias, &body).await.map(drop)
    }

    /// Whether a user may publish a room in the room directory.
    pub async fn user_may_publish_room(&self, user: &UserId, room: &RoomId) -> Result<(), PolicyRefusal> {
        self.ask(PolicyCallback::UserMayPublishRoom, &json!({"user_id": user, "room_id": room})).await.map(drop)
    }

    /// Whether a user is found in the user directory.
    pub async fn check_username_for_spam(&self, profile: UserProfile<'_>, searcher: &UserId) -> bool {
        let body = json!({"user_profile": profile, "requester_id": searcher});
        self.ask(PolicyCallback::CheckUsernameForSpam, &body).await.is_ok()
    }

    /// Whether an account may be registered, and how. `username`: `None` if the server chooses the name.
    pub async fn check_registration_for_spam(
        &self,
        username: Option<&str>,
        clients: &[ClientInfo],
    ) -> Result<RegistrationVerdict, PolicyRefusal> {
        let body = json!({
            "email_threepid": null,
            "username": username,
            "request_info": clients,
            "auth_provider_id": null,
        });
        let response = self.ask(PolicyCallback::CheckRegistrationForSpam, &body).await?;
        let is_shadow_ban = response.get("behaviour").is_some_and(|behaviour| behaviour == "shadow_ban");
        Ok(if is_shadow_ban { RegistrationVerdict::ShadowBan } else { RegistrationVerdict::Allow })
    }

    /// Whether a user may log in.
    pub async fn check_login_for_spam(
        &self,
        user: &UserId,
        device_id: Option<&str>,
        initial_display_name: Option<&str>,
        client: &ClientInfo,
    ) -> Result<(), PolicyRefusal> {
        let body = json!({
            "user_id": user,
            "device_id": device_id,
            "initial_display_name": initial_display_name,
            "request_info": [client],
            "auth_provider_id": null,
        });
        self.ask(PolicyCallback::CheckLoginForSpam, &body).await.map(drop)
    }

    /// Whether a file may be stored.
    pub async fn check_media_file_for_spam(&self, file: MediaFileInfo<'_>) -> Result<(), PolicyRefusal> {
        self.ask(PolicyCallback::CheckMediaFileForSpam, &json!({"file_info": file})).await.map(drop)
    }
}
