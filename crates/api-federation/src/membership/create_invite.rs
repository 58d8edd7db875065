//! Invites.

pub(crate) mod v1;
pub(crate) mod v2;

use plexus_federation::peers::RawPdu;
use plexus_federation::{PduReceiver, receive_invite, serve};
use plexus_http::ApiError;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::Profiles;

use crate::responses::{not_accepted, not_received};

/// An invite of a local user.
struct Invite<'a> {
    origin: &'a ServerName,
    room_id: &'a RoomId,
    event_id: &'a EventId,
    version: RoomVersion,
    event: &'a str,
    room_state: &'a [RawPdu],
}

impl Invite<'_> {
    /// Stores the invite, and returns it with this server's signature.
    async fn receive(self, receiver: &PduReceiver, profiles: &Profiles) -> Result<Pdu, ApiError> {
        let pdu = Pdu::parse_remote(self.event, self.version).map_err(|error| not_received(error.into()))?;
        if pdu.room_id() != self.room_id {
            return Err(ApiError::invalid_param("The event is of another room"));
        }
        if pdu.event_id() != self.event_id {
            return Err(ApiError::invalid_param("The event has another id"));
        }
        let room_state = serve::check_room_state(receiver, &pdu, self.room_state).await.map_err(not_accepted)?;
        let invited = pdu.state_key().and_then(|key| UserId::try_from(key).ok());
        if let Some(invited) = invited
            && profiles.find(&invited).await?.is_none()
        {
            return Err(ApiError::not_found("No such user"));
        }
        receive_invite(receiver, self.origin, pdu, room_state).await.map_err(not_received)
    }
}
