//! Changes of membership through other servers.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;

use super::{MembershipChange, MembershipError};
use crate::model::room::Room;
use crate::write::append::Sent;
use crate::write::peer_error::PeerError;

/// The servers to go through, in this order.
#[derive(Clone, Copy)]
pub struct Via<'a> {
    /// The servers.
    pub servers: &'a [ServerName],
    /// The room, if this server is in it.
    pub room: Option<&'a Arc<Room>>,
}

/// Changes memberships through other servers.
pub trait RemoteMemberships: Send + Sync {
    /// `change.target` joins through the first server that accepts them. `server_fields` are added to the member event.
    fn join<'a>(
        &'a self,
        change: &'a MembershipChange,
        via: Via<'a>,
        server_fields: Object,
    ) -> BoxFuture<'a, Result<Sent, MembershipError>>;

    /// `change.target` knocks through the first server that accepts them.
    fn knock<'a>(
        &'a self,
        change: &'a MembershipChange,
        servers: &'a [ServerName],
    ) -> BoxFuture<'a, Result<Sent, MembershipError>>;

    /// `change.target` rejects an invite or withdraws a knock.
    fn leave<'a>(
        &'a self,
        room: &'a Arc<Room>,
        change: &'a MembershipChange,
        servers: &'a [ServerName],
    ) -> BoxFuture<'a, Result<Sent, MembershipError>>;

    /// Withdraws a join that failed here but that another server may have accepted. Returns `None` if there is none.
    fn withdraw_join<'a>(
        &'a self,
        change: &'a MembershipChange,
    ) -> BoxFuture<'a, Result<Option<Sent>, MembershipError>>;

    /// Returns a room's complexity as a server in it reports it.
    fn room_complexity<'a>(&'a self, server: &'a ServerName, room: &'a RoomId)
    -> BoxFuture<'a, Result<f64, PeerError>>;

    /// Returns the name and avatar of a user of another server; an empty object if that server does not respond soon.
    fn profile<'a>(&'a self, server: &'a ServerName, user: &'a UserId) -> BoxFuture<'a, Object>;

    /// Returns the invite with the signature of the invited user's server.
    fn sign_invite<'a>(
        &'a self,
        room: &'a Room,
        server: &'a ServerName,
        invite: &'a Pdu,
    ) -> BoxFuture<'a, Result<Pdu, MembershipError>>;

    /// Asks the inviter's server to turn a third-party invite into an invite (`PUT /exchange_third_party_invite`).
    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        invite: Object,
    ) -> BoxFuture<'a, Result<(), PeerError>>;

    /// Whether a key of an identity server is still valid. Requests `key_validity_url`, which an event names.
    fn identity_key_is_valid<'a>(
        &'a self,
        key_validity_url: &'a str,
        public_key: &'a str,
    ) -> BoxFuture<'a, Result<bool, PeerError>>;
}
