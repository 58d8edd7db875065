//! Memberships of rooms.

pub(crate) mod ban_user;
pub(crate) mod forget_room;
pub(crate) mod get_member_events;
pub(crate) mod invite_user;
pub(crate) mod join_room_by_id;
pub(crate) mod join_room_by_id_or_alias;
pub(crate) mod joined_members;
pub(crate) mod joined_rooms;
pub(crate) mod kick_user;
pub(crate) mod leave_room;
pub(crate) mod mutual_rooms;
pub(crate) mod unban_user;

use plexus_http::Requester;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::MembershipChange;
use plexus_service::SendingAccount;
use serde::Deserialize;

/// Servers that may be in a room. `server_name` is the old name of `via`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Via {
    #[serde(default)]
    via: Vec<ServerName>,
    #[serde(default)]
    server_name: Vec<ServerName>,
}

impl Via {
    /// Names these servers.
    pub(crate) fn of(servers: Vec<ServerName>) -> Self {
        Self { via: servers, server_name: Vec::new() }
    }

    /// Returns the servers, in the order in which they are to be asked.
    pub(crate) fn servers(self) -> Vec<ServerName> {
        if self.via.is_empty() { self.server_name } else { self.via }
    }
}

/// The body of kick, ban, unban and invite.
#[derive(Debug, Deserialize)]
pub(crate) struct TargetRequest {
    user_id: UserId,
    reason: Option<String>,
}

/// The body of join, leave and knock.
#[derive(Debug, Deserialize)]
pub(crate) struct OwnRequest {
    reason: Option<String>,
}

impl TargetRequest {
    fn into_change(self, requester: &Requester, room_id: RoomId) -> MembershipChange {
        MembershipChange {
            room_id,
            sender: requester.user_id.clone(),
            target: self.user_id,
            reason: self.reason,
            content: Object::new(),
            via: Vec::new(),
            transaction: None,
            origin_server_ts: None,
            authority: SendingAccount::from(requester).authority(),
        }
    }
}

impl OwnRequest {
    pub(crate) fn into_change(self, requester: &Requester, room_id: RoomId) -> MembershipChange {
        MembershipChange {
            room_id,
            sender: requester.user_id.clone(),
            target: requester.user_id.clone(),
            reason: self.reason,
            content: Object::new(),
            via: Vec::new(),
            transaction: None,
            origin_server_ts: None,
            authority: SendingAccount::from(requester).authority(),
        }
    }
}
