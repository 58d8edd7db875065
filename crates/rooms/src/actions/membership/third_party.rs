//! Invites of people who were known by an address only: once somebody has proven to own the address, the room's
//! `m.room.third_party_invite` becomes an invite of that user (server-server API, "Third-party invites").

use plexus_protocol::auth::{InviteKey, keys_that_signed};
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::{Object, Value};

use super::{MembershipChange, MembershipChanger, MembershipError};
use crate::model::limits::Authority;
use crate::model::room::Room;
use crate::write::append::Sent;

/// What an identity server says of the owner of an address.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// The room.
    pub room_id: RoomId,
    /// Who invited the owner of the address.
    pub sender: UserId,
    /// The owner.
    pub target: UserId,
    /// The identity server's word for it: `mxid`, `token`, `signatures`.
    pub signed: Object,
}

impl MembershipChanger {
    /// Invites the owner of an address in the name of a local user who invited the address.
    pub async fn redeem(&self, redemption: Redemption) -> Result<Sent, MembershipError> {
        let Redemption { room_id, sender, target, mut signed } = redemption;
        // No signature covers it, and this server signs the invite.
        signed.remove("unsigned");
        let room = self.room(&room_id).await?;
        let own = sender.server_name() == self.rooms.server_name().as_str();
        let token = signed.get_str("token").unwrap_or_default();
        let (true, Some(invite)) = (own, third_party_invite(&room, token).await?) else {
            return Err(MembershipError::NotInvited);
        };
        self.require_valid_key(&invite, &signed).await?;
        let display_name = invite.content().get("display_name").cloned().unwrap_or_else(|| "".into());
        let proof = Object::from([("display_name", display_name), ("signed", Value::Object(signed))]);
        let decided = Object::from([("third_party_invite", proof)]);
        let (content, authority) = (Object::new(), Authority::User);
        let change = MembershipChange { room_id, sender, target, reason: None, content, via: Vec::new(), authority };
        self.invite_with(&change, &decided).await
    }

    /// Has the server of the user who invited the address of `target`, a local user, invite that user.
    pub async fn have_redeemed(&self, redemption: Redemption) -> Result<(), MembershipError> {
        let Redemption { room_id, sender, target, signed } = redemption;
        let server = ServerName::try_from(sender.server_name()).map_err(|_| MembershipError::NoServer)?;
        let remote = self.remote.as_ref().ok_or(MembershipError::NoServer)?;
        // The server knows the name under which the address was invited; it does not have to be told the right one.
        let proof = Object::from([("display_name", Value::from("")), ("signed", Value::Object(signed))]);
        let content = Object::from([("membership", Value::from("invite")), ("third_party_invite", proof.into())]);
        let invite = Object::from([
            ("type", Value::from("m.room.member")),
            ("room_id", Value::from(room_id.as_str())),
            ("sender", Value::from(sender.as_str())),
            ("state_key", Value::from(target.as_str())),
            ("content", content.into()),
        ]);
        Ok(remote.exchange_third_party_invite(&server, &room_id, invite).await?)
    }

    /// The server that makes the invite asks whether the key it rests on has been withdrawn (client-server API, "Third-party
    /// invites"); nobody else does, so that all judge the event alike.
    async fn require_valid_key(&self, invite: &Pdu, signed: &Object) -> Result<(), MembershipError> {
        for InviteKey { public_key, key_validity_url } in keys_that_signed(invite.content(), signed) {
            let (Some(url), Some(remote)) = (key_validity_url, &self.remote) else { return Ok(()) };
            match remote.identity_key_is_valid(url, public_key).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => tracing::info!("whether a key of an identity server is valid is not known: {error}"),
            }
        }
        Err(MembershipError::IdentityKey)
    }
}

async fn third_party_invite(room: &Room, token: &str) -> Result<Option<Pdu>, MembershipError> {
    let view = room.view();
    let Some(entry) = view.state.get("m.room.third_party_invite", token) else { return Ok(None) };
    Ok(Some(room.state_event(entry).await?.pdu.clone()))
}
