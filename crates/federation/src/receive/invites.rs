//! Receives invites of this server's users to rooms of other servers, and the events that end them.

use plexus_protocol::event::{Pdu, sign};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Value;
use plexus_protocol::membership::Membership;
use plexus_protocol::power_levels::PowerLevels;
use plexus_rooms::model::limits::Authority;
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
    writer.sender_rules().check_invites([&ours])?;
    writer.invite_permissions().check(Authority::User, invite.sender(), [&ours]).await??;
    if let Some(refusal) = receiver.rooms.entry_refusal(invite.room_id()).await? {
        return Err(refusal.into());
    }
    let counted = writer.limits().remote_invite(invite.sender(), &ours, invite.room_id())?;
    let mut checked = receiver.verifier.verify(vec![invite]).await;
    let invite = checked.pop().ok_or(ReceiveError::NotAnInvite)??;
    counted.succeeded();
    if let Some(hooks) = writer.policy_hooks() {
        hooks.federated_user_may_invite(&invite).await.map_err(Box::new)?;
    }
    let signed = sign::add_signature(&invite, &receiver.signing_key, writer.server_name())?;
    let room = out_of_band::known_or_new(writer, invite.room_id(), invite.room_version()).await?;
    let view = room.view();
    if room.version != invite.room_version() {
        return Err(ReceiveError::OtherVersion);
    }
    if view.is_out_of_band() {
        out_of_band::set_membership(writer, &room, &stripped.attach_to(&signed, "invite_room_state")).await?;
    } else if view.local_joined.is_empty() {
        // No user of this server is in the room any more, and its stored events must not become visible to the user.
        return Err(ReceiveError::InviterNotInRoom);
    }
    Ok(signed)
}

/// Whether an event may end `pending`, the invite or knock of a user of this server in a room that this server is not
/// in. The authorization rules cannot be applied, because only the stripped state is known. As in Synapse, the event
/// must name `pending` among its auth events, which shows that its sender's server is in the room, and that it does not
/// end a later invite. It is then accepted from the inviter's server, and from others unless the power levels in the
/// stripped state forbid it.
pub(crate) fn may_end(pending: &Pdu, end: &Pdu) -> bool {
    let sender = end.sender();
    let is_own = end.state_key() == Some(sender.as_str());
    let is_inviters =
        Membership::of(pending) == Some(Membership::Invite) && sender.server_name() == pending.sender().server_name();
    end.auth_events().contains(pending.event_id()) && (is_own || is_inviters || has_power_to_end(pending, end))
}

/// Whether the sender of `end` may kick or ban by the power levels in the stripped state; also if there are none.
fn has_power_to_end(pending: &Pdu, end: &Pdu) -> bool {
    let stripped_state = stripped::attached_state(pending);
    let of_type = |event_type| stripped_state.iter().find(|event| event.get_str("type") == Some(event_type));
    let content = |event_type| of_type(event_type).and_then(|event| event.get_object("content"));
    let Some(content_of_levels) = content("m.room.power_levels") else { return true };
    let sender = of_type("m.room.create").and_then(|create| create.get_str("sender"));
    let named = content("m.room.create").and_then(|create| create.get_array("additional_creators"));
    let creators = sender.into_iter().chain(named.into_iter().flatten().filter_map(Value::as_str));
    let creators: Vec<UserId> = creators.filter_map(|creator| UserId::try_from(creator).ok()).collect();
    let levels = PowerLevels::new(pending.rules(), &creators, Some(content_of_levels));
    let needed = match Membership::of(end) {
        Some(Membership::Ban) => levels.ban(),
        _ => levels.kick(),
    };
    levels.user(end.sender()) >= needed
        && end.state_key().is_none_or(|target| levels.user(end.sender()) > levels.user_by_str(target))
}

/// Whether an event ends the invite or knock of a user of this server in a room that this server is not in.
pub(crate) fn is_end_of_invite(room: &Room, pdu: &Pdu) -> bool {
    let view = room.view();
    let Some(user) = pdu.state_key().filter(|_| pdu.event_type() == "m.room.member") else { return false };
    let is_pending = matches!(view.state.membership(user), Some(Membership::Invite | Membership::Knock));
    let ends = matches!(Membership::of(pdu), Some(Membership::Leave | Membership::Ban));
    view.is_out_of_band() && is_pending && ends
}
