//! Invites of our users to rooms of other servers, and their end.

use plexus_protocol::event::{Pdu, sign};
use plexus_protocol::id::{ServerName, UserId};

use super::{PduReceiver, ReceiveError};
use crate::membership_kind::MembershipKind;
use crate::room::Room;
use crate::stripped::StrippedState;

impl PduReceiver {
    /// Takes in an invite of one of our users (server-server API, "Inviting to a room") with the stripped state that came with
    /// it; answers it with our signature. In a room this server is in already, the invite itself comes like any other event.
    ///
    /// # Errors
    /// When it is not an invite of one of our users by a user of `origin`, or not signed.
    pub async fn invited(
        &self,
        origin: &ServerName,
        invite: Pdu,
        stripped: StrippedState,
    ) -> Result<Pdu, ReceiveError> {
        let rooms = &self.rooms;
        let ours = invite.state_key().and_then(|key| UserId::try_from(key).ok());
        let ours = ours.filter(|user| user.server_name() == rooms.server_name.as_str());
        let Some(ours) = ours else { return Err(ReceiveError::NotAnInvite) };
        if invite.event_type() != "m.room.member"
            || MembershipKind::of(&invite) != Some(MembershipKind::Invite)
            || invite.sender().server_name() != origin.as_str()
        {
            return Err(ReceiveError::NotAnInvite);
        }
        let counted = rooms.limits.invite_from_elsewhere(invite.sender(), &ours, invite.room_id())?;
        let mut checked = self.verify(vec![invite]).await;
        let invite = checked.pop().ok_or(ReceiveError::NotAnInvite)??;
        counted.succeeded();
        let signed = sign::add_signature(&invite, &rooms.signing_key, &rooms.server_name);
        let room = rooms.known_or_new(invite.room_id(), invite.room_version()).await?;
        let view = room.view();
        if room.version != invite.room_version() {
            return Err(ReceiveError::OtherVersion);
        }
        if view.is_out_of_band() {
            rooms.set_from_outside(&room, &stripped.along(&signed, "invite_room_state")).await?;
        } else if view.local_joined.is_empty() {
            // Nobody is in the room, and what this server stored of it must not be opened by an invite that nobody could send.
            return Err(ReceiveError::InviterNotInRoom);
        }
        Ok(signed)
    }
}

/// Whether an event ends the invite or knock of one of our users in a room that this server is not in.
pub(crate) fn is_end_of_invite(room: &Room, pdu: &Pdu) -> bool {
    let view = room.view();
    let Some(user) = pdu.state_key().filter(|_| pdu.event_type() == "m.room.member") else { return false };
    let waits = matches!(view.state.membership(user), Some(MembershipKind::Invite | MembershipKind::Knock));
    let ends = matches!(MembershipKind::of(pdu), Some(MembershipKind::Leave | MembershipKind::Ban));
    view.is_out_of_band() && waits && ends
}
