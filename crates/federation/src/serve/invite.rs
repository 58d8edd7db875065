//! Checks invites of this server's users by users of other servers
//! (<https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>).

use plexus_protocol::event::Pdu;
use plexus_rooms::read::stripped::StrippedState;

use super::ServeError;
use super::send_membership::SentMembershipError;
use crate::peers::RawPdu;
use crate::receive::{PduReceiver, ReceiveError};

/// Checks that the room of an invite, if this server knows it, allows the inviting server; and from room version 12 on,
/// that the invite's `invite_room_state` belongs to the room, is complete and signed. Returns it as stripped state.
///
/// # Errors
/// When it is not, or is too large.
pub async fn check_room_state(
    receiver: &PduReceiver,
    invite: &Pdu,
    events: &[RawPdu],
) -> Result<StrippedState, SentMembershipError> {
    let stripped = StrippedState::all(events).map_err(ReceiveError::from)?;
    let inviter = plexus_protocol::id::ServerName::try_from(invite.sender().server_name());
    let inviter = inviter.map_err(|_| SentMembershipError::Unfit("the sender's server has no valid name"))?;
    if let Some(room) = receiver.rooms.get(invite.room_id()).await.map_err(ServeError::from)?
        && !room.view().allows_server(&inviter)
    {
        return Err(ServeError::DeniedByAcl.into());
    }
    if !invite.rules().create_event_is_room_id {
        return Ok(stripped);
    }
    let mut pdus = Vec::with_capacity(events.len());
    for event in events {
        let pdu = Pdu::parse_remote(event.get(), invite.room_version())?;
        if pdu.room_id() != invite.room_id() {
            return Err(SentMembershipError::Unfit("invite_room_state has an event of another room"));
        }
        pdus.push(pdu);
    }
    if !pdus.iter().any(|pdu| pdu.is_state("m.room.create", "")) {
        return Err(SentMembershipError::Unfit("invite_room_state has no m.room.create event"));
    }
    for checked in receiver.verifier.verify(pdus).await {
        checked?;
    }
    Ok(stripped)
}
