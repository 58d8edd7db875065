//! Signs events as a policy server (<https://spec.matrix.org/v1.19/server-server-api/#policy-servers>).

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::json::Object;
use plexus_rooms::PolicyRefusal;
use plexus_store::DbError;

use crate::receive::PduReceiver;

/// Why an event is not signed.
#[derive(Debug, thiserror::Error)]
pub enum PolicySignError {
    /// The room's `m.room.server_acl` denies the requesting server.
    #[error("the room's access control list denies your server")]
    DeniedByAcl,
    /// The body is not an event of the room's version.
    #[error("not an event of the room's version: {0}")]
    BadEvent(String),
    /// This server refuses.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
}

impl From<DbError> for PolicySignError {
    fn from(error: DbError) -> Self {
        Self::Refused(error.into())
    }
}

/// `POST /_matrix/policy/v1/sign`: returns this server's signature of an event, given as JSON.
///
/// # Errors
/// See [`PolicySignError`].
pub async fn policy_signature(
    receiver: &PduReceiver,
    origin: &ServerName,
    json: &str,
) -> Result<Object, PolicySignError> {
    let not_served = || PolicySignError::Refused(PolicyRefusal::NotPolicyServer);
    let event = Object::parse(json).map_err(|error| PolicySignError::BadEvent(error.to_string()))?;
    let own = receiver.own_policy().ok_or_else(not_served)?;
    let room_id = event.get_str("room_id").and_then(|id| RoomId::try_from(id).ok());
    let room_id = room_id.ok_or_else(|| PolicySignError::BadEvent("room_id is missing or no room id".to_owned()))?;
    let room = receiver.rooms.get(&room_id).await?.ok_or_else(not_served)?;
    if !room.view().allows_server(origin) {
        return Err(PolicySignError::DeniedByAcl);
    }
    let pdu = Pdu::parse_remote(json, room.version).map_err(|error| PolicySignError::BadEvent(error.to_string()))?;
    Ok(own.recommend(&receiver.rooms, &room, &pdu).await?)
}
