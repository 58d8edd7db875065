//! What changes of membership need of other servers.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;

use super::{MembershipChange, MembershipError};
use crate::model::room::Room;
use crate::write::append::Sent;
use crate::write::peer_error::PeerError;

/// The servers to ask, in this order.
#[derive(Clone, Copy)]
pub struct Via<'a> {
    /// The servers.
    pub servers: &'a [ServerName],
    /// The room, if this server is in it.
    pub room: Option<&'a Arc<Room>>,
}

/// Changes memberships by way of other servers.
pub trait RemoteMemberships: Send + Sync {
    /// `change.target` joins by way of the first server that accepts them. `decided`: content that this server adds to
    /// the member event.
    fn join<'a>(
        &'a self,
        change: &'a MembershipChange,
        via: Via<'a>,
        decided: Object,
    ) -> BoxFuture<'a, Result<Sent, MembershipError>>;

    /// `change.target` knocks by way of the first server that accepts them.
    fn knock<'a>(
        &'a self,
        change: &'a MembershipChange,
        servers: &'a [ServerName],
    ) -> BoxFuture<'a, Result<Sent, MembershipError>>;

    /// `change.target` declines an invite or withdraws a knock.
    fn leave<'a>(
        &'a self,
        room: &'a Arc<Room>,
        change: &'a MembershipChange,
        servers: &'a [ServerName],
    ) -> BoxFuture<'a, Result<Sent, MembershipError>>;

    /// Withdraws a join that failed here and that another server may have accepted; `None` if there is none.
    fn withdraw_join<'a>(
        &'a self,
        change: &'a MembershipChange,
    ) -> BoxFuture<'a, Result<Option<Sent>, MembershipError>>;

    /// Returns the name and avatar of a user of another server; empty if that server does not answer soon.
    fn profile<'a>(&'a self, server: &'a ServerName, user: &'a UserId) -> BoxFuture<'a, Object>;

    /// Returns the invite with the signature of the invited user's server.
    fn sign_invite<'a>(
        &'a self,
        room: &'a Room,
        server: &'a ServerName,
        invite: &'a Pdu,
    ) -> BoxFuture<'a, Result<Pdu, MembershipError>>;

    /// Asks the server of the user who invited an address to invite the owner of the address.
    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        invite: Object,
    ) -> BoxFuture<'a, Result<(), PeerError>>;

    /// Whether an identity server still stands by a key; asks the address that an event names for that.
    fn identity_key_is_valid<'a>(
        &'a self,
        key_validity_url: &'a str,
        public_key: &'a str,
    ) -> BoxFuture<'a, Result<bool, PeerError>>;
}
