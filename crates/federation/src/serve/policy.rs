//! Signs events as a policy server (<https://spec.matrix.org/v1.19/server-server-api/#policy-servers>).

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::json::Object;
use plexus_rooms::PolicyRefusal;
use plexus_rooms::model::room_view::RoomView;
use plexus_store::DbError;

use crate::receive::PduReceiver;

/// Why an event is not signed.
#[derive(Debug, thiserror::Error)]
pub enum PolicySignError {
    /// The room's `m.room.server_acl` denies the requesting server.
    #[error("the room's access control list denies your server")]
    DeniedByAcl,
    /// The body is not an event of the room's version, or its sender's server has not signed it.
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

/// `POST /_matrix/policy/v1/sign`: returns this server's signature of an event, given as JSON. Servers in the room can
/// ask about any event: others may have sent it without asking. A server outside can ask about the event by which its
/// user enters; otherwise it does not learn whether the room is known.
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
    let (view, parsed) = (room.view(), Pdu::parse_remote(json, room.version));
    let is_allowed = view.allows_server(origin);
    let may_enter = is_allowed && parsed.as_ref().is_ok_and(|pdu| enters(&view, origin, pdu));
    if !(may_enter || view.servers.contains(origin.as_str())) {
        return Err(not_served());
    }
    if !is_allowed {
        return Err(PolicySignError::DeniedByAcl);
    }
    let pdu = parsed.map_err(|error| PolicySignError::BadEvent(error.to_string()))?;
    let verified = receiver.verifier.verify(vec![pdu]).await.pop();
    let verified = verified.ok_or_else(|| PolicySignError::BadEvent("it cannot be checked".to_owned()))?;
    let pdu = verified.map_err(|error| PolicySignError::BadEvent(error.to_string()))?;
    Ok(own.recommend(&receiver.rooms, &room, &pdu).await?)
}

/// Whether a user of `origin` enters the room, or leaves it, by their own event, and perhaps may.
fn enters(view: &RoomView, origin: &ServerName, pdu: &Pdu) -> bool {
    let user = pdu.sender();
    let is_own = user.server_name() == origin.as_str() && pdu.is_state("m.room.member", user.as_str());
    let is_open = !matches!(view.join_rule, JoinRule::Invite | JoinRule::Private | JoinRule::Unknown);
    is_own && (is_open || view.state.membership(user.as_str()).is_some())
}
