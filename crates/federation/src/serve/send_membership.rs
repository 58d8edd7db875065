//! Receives the member events by which users of other servers join, leave and knock through this server
//! (<https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>,
//! <https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites>,
//! <https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms>).

use std::sync::Arc;

use plexus_protocol::event::{Pdu, PduError, sign};
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::actions::membership::restricted;
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::write::graph::AddOutcome;
use plexus_store::repo::events::{GraphNode, Verdict};

use super::admission::room_for_outsider;
use super::{ServeError, make_membership};
use crate::receive::{PduReceiver, ReceiveError};

/// A member event that another server sends (`send_join`, `send_leave`, `send_knock`).
#[derive(Debug, Clone, Copy)]
pub struct SentMembership<'a> {
    /// The server that sends it.
    pub origin: &'a ServerName,
    /// The room, from the request's path.
    pub room_id: &'a RoomId,
    /// The event's id, from the request's path.
    pub event_id: &'a EventId,
    /// The event.
    pub json: &'a str,
}

/// A member event of another server that has been added to the room.
pub struct AcceptedMembership {
    /// The room.
    pub room: Arc<Room>,
    /// The event, with this server's signature if it needs one.
    pub pdu: Pdu,
    /// The servers that were in the room before the event.
    pub servers: Vec<String>,
}

/// Why a member event of another server was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SentMembershipError {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] ServeError),
    /// Not an event of the room's version.
    #[error("malformed event: {0}")]
    Malformed(#[from] PduError),
    /// The event is not one that the request may send.
    #[error("{0}")]
    Unfit(&'static str),
    /// The authorization rules do not allow the event.
    #[error("the room does not allow it")]
    NotAllowed,
    /// The event could not be received.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

/// `PUT /send_join/{roomId}/{eventId}`
pub async fn send_join(
    receiver: &PduReceiver,
    sent: SentMembership<'_>,
) -> Result<AcceptedMembership, SentMembershipError> {
    receive(receiver, sent, Membership::Join).await
}

/// `PUT /send_leave/{roomId}/{eventId}`
pub async fn send_leave(
    receiver: &PduReceiver,
    sent: SentMembership<'_>,
) -> Result<AcceptedMembership, SentMembershipError> {
    receive(receiver, sent, Membership::Leave).await
}

/// `PUT /send_knock/{roomId}/{eventId}`
pub async fn send_knock(
    receiver: &PduReceiver,
    sent: SentMembership<'_>,
) -> Result<AcceptedMembership, SentMembershipError> {
    receive(receiver, sent, Membership::Knock).await
}

async fn receive(
    receiver: &PduReceiver,
    sent: SentMembership<'_>,
    membership: Membership,
) -> Result<AcceptedMembership, SentMembershipError> {
    let SentMembership { origin, room_id, event_id, json } = sent;
    let rooms = &receiver.rooms;
    let room = room_for_outsider(rooms, origin, room_id).await?;
    let pdu = Pdu::parse_remote(json, room.version)?;
    check(&pdu, &sent, membership)?;
    let mut pdu = receiver.verifier.verify(vec![authorized(receiver, &room, pdu).await?]).await;
    let pdu = pdu.pop().ok_or(SentMembershipError::Unfit("the event cannot be checked"))??;
    let servers = room.view().servers.names().map(str::to_owned).collect();
    let is_allowed = match verdict_in_graph(rooms, &room, event_id).await? {
        // It is sent again because the response was lost.
        Some(verdict) => verdict == Verdict::Accepted,
        None => accept(receiver, origin, &room, &pdu).await?,
    };
    if is_allowed { Ok(AcceptedMembership { room, pdu, servers }) } else { Err(SentMembershipError::NotAllowed) }
}

/// Returns the verdict on an event that is in the room's graph already.
async fn verdict_in_graph(rooms: &Rooms, room: &Room, event_id: &EventId) -> Result<Option<Verdict>, ServeError> {
    let known = event_lookup::known(&rooms.db, std::slice::from_ref(event_id)).await?;
    let placed = |known: &&GraphNode| known.snapshot_nid.is_some() && known.room_nid == room.nid;
    Ok(known.get(event_id).filter(placed).map(|known| known.verdict))
}

/// Checks what the specification requires of the event of a `send_join`, `send_leave` or `send_knock`.
fn check(pdu: &Pdu, sent: &SentMembership<'_>, membership: Membership) -> Result<(), SentMembershipError> {
    let unfit = if pdu.room_id() != sent.room_id {
        "the event is of another room"
    } else if pdu.event_id() != sent.event_id {
        "the event has another id"
    } else if pdu.event_type() != "m.room.member" {
        "the event is not of type m.room.member"
    } else if Membership::of(pdu) != Some(membership) {
        "the event is of another membership"
    } else if pdu.sender().server_name() != sent.origin.as_str() {
        "the sender is not on your server"
    } else if pdu.state_key() != Some(pdu.sender().as_str()) {
        "the event is about somebody else than its sender"
    } else if !pdu.content_hash_matches() {
        "the content's hash does not match"
    } else {
        return Ok(());
    };
    Err(SentMembershipError::Unfit(unfit))
}

/// Adds the event to the room. Returns whether the room allows it. An allowed join counts towards the room's limit.
async fn accept(
    receiver: &PduReceiver,
    origin: &ServerName,
    room: &Arc<Room>,
    pdu: &Pdu,
) -> Result<bool, SentMembershipError> {
    let limits = receiver.writer.limits();
    let is_joined = room.view().state.membership(pdu.sender().as_str()) == Some(Membership::Join);
    let is_new_join = Membership::of(pdu) == Some(Membership::Join) && !is_joined;
    let counted = is_new_join.then(|| limits.join_of_room(&room.id)).transpose().map_err(ServeError::from)?;
    let accepted = receiver.accept(origin, room, pdu.clone()).await?;
    let allowed = !matches!(accepted, AddOutcome::SoftFailed | AddOutcome::Rejected);
    if let Some(counted) = counted.filter(|_| allowed) {
        counted.succeeded();
    }
    Ok(allowed)
}

/// Returns the event. A restricted join that names a user of this server is returned with this server's signature
/// (<https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms>), if that user is in the room and may invite,
/// and the joining user satisfies a condition of the join rule where the room requires one.
async fn authorized(receiver: &PduReceiver, room: &Room, pdu: Pdu) -> Result<Pdu, SentMembershipError> {
    let Some(named) = pdu.content().get("join_authorised_via_users_server") else { return Ok(pdu) };
    if Membership::of(&pdu) != Some(Membership::Join) || !pdu.rules().auth.restricted_joins {
        return Ok(pdu);
    }
    let refused = |problem| SentMembershipError::from(ServeError::NotAnAuthoriser(problem));
    let named = named.as_str().and_then(|user| UserId::try_from(user).ok());
    let named = named.ok_or_else(|| refused("the authorising user is no user id"))?;
    if named.server_name() != receiver.rooms.server_name().as_str() {
        return Err(refused("this server cannot sign in the name of a user of another server"));
    }
    if !restricted::is_authoriser(&room.view(), &named) {
        return Err(refused("the authorising user cannot let others into the room"));
    }
    make_membership::authoriser(&receiver.rooms, room, pdu.sender()).await?;
    Ok(sign::add_signature(&pdu, &receiver.signing_key, receiver.rooms.server_name())?)
}
