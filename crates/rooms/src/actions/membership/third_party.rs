//! Third-party invites: once a user has proven to an identity server that they own an invited address, an
//! `m.room.third_party_invite` event becomes an invite of that user
//! (<https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>).

use plexus_protocol::auth::{InviteKey, keys_that_signed};
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::{Object, Value};

use super::{MembershipChange, MembershipChanger, MembershipError};
use crate::model::limits::Authority;
use crate::model::room::Room;
use crate::write::append::Sent;

/// The claim of a user to a third-party invite, signed by an identity server.
#[derive(Clone, Debug)]
pub struct ThirdPartyInviteClaim {
    /// The room.
    pub room_id: RoomId,
    /// The user who invited the address.
    pub sender: UserId,
    /// The owner of the address.
    pub target: UserId,
    /// The signed object: `mxid`, `token`, `signatures`.
    pub signed: Object,
}

impl MembershipChanger {
    /// Invites the owner of an address, on behalf of the local user who invited the address.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn claim_third_party_invite(&self, claim: ThirdPartyInviteClaim) -> Result<Sent, MembershipError> {
        let ThirdPartyInviteClaim { room_id, sender, target, mut signed } = claim;
        // No signature covers it.
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
        let server_fields = Object::from([("third_party_invite", proof)]);
        let change = MembershipChange {
            room_id,
            sender,
            target,
            reason: None,
            content: Object::new(),
            via: Vec::new(),
            transaction: None,
            origin_server_ts: None,
            authority: Authority::User,
        };
        self.invite_with(&change, &server_fields).await
    }

    /// Asks the inviter's server to invite `target`, a local user.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn forward_third_party_invite(&self, claim: ThirdPartyInviteClaim) -> Result<(), MembershipError> {
        let ThirdPartyInviteClaim { room_id, sender, target, signed } = claim;
        let server = ServerName::try_from(sender.server_name()).map_err(|_| MembershipError::NoServer)?;
        let remote = self.remote.as_ref().ok_or(MembershipError::NoServer)?;
        // That server knows the display name of the invite, and ignores this one.
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

    /// Checks that the identity server's key is still valid. Only the server that sends the invite does so
    /// (<https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>): all others would not judge the event
    /// alike.
    async fn require_valid_key(&self, invite: &Pdu, signed: &Object) -> Result<(), MembershipError> {
        for InviteKey { public_key, key_validity_url } in keys_that_signed(invite.content(), signed) {
            let (Some(url), Some(remote)) = (key_validity_url, &self.remote) else { return Ok(()) };
            match remote.identity_key_is_valid(url, public_key).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => tracing::info!("the key of an identity server could not be checked: {error}"),
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
