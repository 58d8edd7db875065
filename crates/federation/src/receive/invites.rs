//! Invites of this server's users to rooms of other servers, and events that end them.

use plexus_protocol::event::{Pdu, sign};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Value;
use plexus_protocol::membership::Membership;
use plexus_protocol::power_levels::PowerLevels;
use plexus_rooms::model::room::Room;
use plexus_rooms::read::stripped::{self, StrippedState};
use plexus_rooms::write::out_of_band;

use super::{PduReceiver, ReceiveError};

/// Receives an invite of a user of this server, with the stripped state that came with it
/// (<https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>). Returns it with this server's signature. If
/// this server is in the room already, the invite itself is sent to it like any other event.
///
/// # Errors
/// When it is not an invite of a user of this server by a user of `origin`, or not signed.
pub async fn receive_invite(
    receiver: &PduReceiver,
    origin: &ServerName,
    invite: Pdu,
    stripped: StrippedState,
) -> Result<Pdu, ReceiveError> {
    let writer = &receiver.writer;
    let ours = invite.state_key().and_then(|key| UserId::try_from(key).ok());
    let ours = ours.filter(|user| user.server_name() == writer.server_name().as_str());
    let Some(ours) = ours else { return Err(ReceiveError::NotAnInvite) };
    if invite.event_type() != "m.room.member"
        || Membership::of(&invite) != Some(Membership::Invite)
        || invite.sender().server_name() != origin.as_str()
    {
        return Err(ReceiveError::NotAnInvite);
    }
    let counted = writer.limits.invite_from_elsewhere(invite.sender(), &ours, invite.room_id())?;
    let mut checked = receiver.verifier.verify(vec![invite]).await;
    let invite = checked.pop().ok_or(ReceiveError::NotAnInvite)??;
    counted.succeeded();
    let signed = sign::add_signature(&invite, &writer.signing_key, writer.server_name())?;
    let room = out_of_band::known_or_new(writer, invite.room_id(), invite.room_version()).await?;
    let view = room.view();
    if room.version != invite.room_version() {
        return Err(ReceiveError::OtherVersion);
    }
    if view.is_out_of_band() {
        out_of_band::set_membership(writer, &room, &stripped.along(&signed, "invite_room_state")).await?;
    } else if view.local_joined.is_empty() {
        // Nobody is in the room, so nobody could invite. Its stored events must not be opened to the user.
        return Err(ReceiveError::InviterNotInRoom);
    }
    Ok(signed)
}

/// Whether an event may end `waiting`, the invite or knock of one of our users in a room that this server is not in.
/// The authorization rules cannot be applied: no more is known of the room than what came along. As in Synapse, the
/// event has to name what it ends among its auth events: so its sender's server is in the room, and the event ends
/// nothing later. Then the inviter's server is believed, and anybody else unless the power levels that came along speak
/// against them.
pub(crate) fn may_end(waiting: &Pdu, end: &Pdu) -> bool {
    let sender = end.sender();
    let is_own = end.state_key() == Some(sender.as_str());
    let is_inviters =
        Membership::of(waiting) == Some(Membership::Invite) && sender.server_name() == waiting.sender().server_name();
    end.auth_events().contains(waiting.event_id()) && (is_own || is_inviters || has_power_to_end(waiting, end))
}

/// Whether the power levels that came with an invite or knock let the sender of its end kick or ban. Where none came,
/// they do.
fn has_power_to_end(waiting: &Pdu, end: &Pdu) -> bool {
    let along = stripped::sent_along(waiting);
    let of_type = |event_type| along.iter().find(|event| event.get_str("type") == Some(event_type));
    let content = |event_type| of_type(event_type).and_then(|event| event.get_object("content"));
    let Some(content_of_levels) = content("m.room.power_levels") else { return true };
    let sender = of_type("m.room.create").and_then(|create| create.get_str("sender"));
    let named = content("m.room.create").and_then(|create| create.get_array("additional_creators"));
    let creators = sender.into_iter().chain(named.into_iter().flatten().filter_map(Value::as_str));
    let creators: Vec<UserId> = creators.filter_map(|creator| UserId::try_from(creator).ok()).collect();
    let levels = PowerLevels::new(waiting.rules(), &creators, Some(content_of_levels));
    let needed = match Membership::of(end) {
        Some(Membership::Ban) => levels.ban(),
        _ => levels.kick(),
    };
    levels.user(end.sender()) >= needed
        && end.state_key().is_none_or(|target| levels.user(end.sender()) > levels.user_by_str(target))
}

/// Whether an event ends the invite or knock of one of our users in a room that this server is not in.
pub(crate) fn is_end_of_invite(room: &Room, pdu: &Pdu) -> bool {
    let view = room.view();
    let Some(user) = pdu.state_key().filter(|_| pdu.event_type() == "m.room.member") else { return false };
    let waits = matches!(view.state.membership(user), Some(Membership::Invite | Membership::Knock));
    let ends = matches!(Membership::of(pdu), Some(Membership::Leave | Membership::Ban));
    view.is_out_of_band() && waits && ends
}
