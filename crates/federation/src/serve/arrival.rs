//! Users of other servers join, leave and knock through this server
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
use plexus_rooms::write::graph::Accepted;
use plexus_rooms::write::writer::RoomWriter;
use plexus_store::repo::events::{Known, Verdict};

use super::admission::for_stranger;
use super::{ServeError, handshake};
use crate::receive::{PduReceiver, ReceiveError};

/// A member event that another server sends.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The server that sends it.
    pub origin: &'a ServerName,
    /// The room it says it is for.
    pub room_id: &'a RoomId,
    /// The id it says the event has.
    pub event_id: &'a EventId,
    /// The event.
    pub json: &'a str,
}

/// A member event of another server that has its place in the room now.
pub struct Arrived {
    /// The room.
    pub room: Arc<Room>,
    /// The event, with this server's signature where it needs that.
    pub pdu: Pdu,
    /// The servers that were in the room before.
    pub servers: Vec<String>,
}

/// Why a member event of another server was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// The server has no business there, or the user may not do that.
    #[error(transparent)]
    Refused(#[from] ServeError),
    /// Not an event of the room's version.
    #[error("malformed event: {0}")]
    Malformed(#[from] PduError),
    /// Not the event that it has to be.
    #[error("{0}")]
    Unfit(&'static str),
    /// The room does not allow it.
    #[error("the room does not allow it")]
    NotAllowed,
    /// It could not be received.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

/// `PUT /send_join/{roomId}/{eventId}`
pub async fn join(receiver: &PduReceiver, arrival: Arrival<'_>) -> Result<Arrived, ArrivalError> {
    arrive(receiver, arrival, Membership::Join).await
}

/// `PUT /send_leave/{roomId}/{eventId}`
pub async fn leave(receiver: &PduReceiver, arrival: Arrival<'_>) -> Result<Arrived, ArrivalError> {
    arrive(receiver, arrival, Membership::Leave).await
}

/// `PUT /send_knock/{roomId}/{eventId}`
pub async fn knock(receiver: &PduReceiver, arrival: Arrival<'_>) -> Result<Arrived, ArrivalError> {
    arrive(receiver, arrival, Membership::Knock).await
}

async fn arrive(receiver: &PduReceiver, arrival: Arrival<'_>, membership: Membership) -> Result<Arrived, ArrivalError> {
    let Arrival { origin, room_id, event_id, json } = arrival;
    let rooms = &receiver.rooms;
    let room = for_stranger(rooms, origin, room_id).await?;
    let pdu = Pdu::parse_remote(json, room.version)?;
    check_fits(&pdu, &arrival, membership)?;
    let mut pdu = receiver.verifier.verify(vec![vouched(&receiver.writer, &room, pdu).await?]).await;
    let pdu = pdu.pop().ok_or(ArrivalError::Unfit("the event cannot be checked"))??;
    let servers = room.view().servers.names().map(str::to_owned).collect();
    let is_allowed = match verdict_so_far(rooms, &room, event_id).await? {
        // It is sent again because the response was lost.
        Some(verdict) => verdict == Verdict::Accepted,
        None => accept(receiver, origin, &room, &pdu).await?,
    };
    if is_allowed { Ok(Arrived { room, pdu, servers }) } else { Err(ArrivalError::NotAllowed) }
}

/// What became of an event that has its place in the room already.
async fn verdict_so_far(rooms: &Rooms, room: &Room, event_id: &EventId) -> Result<Option<Verdict>, ServeError> {
    let known = event_lookup::known(&rooms.db, std::slice::from_ref(event_id)).await?;
    let placed = |known: &&Known| known.snapshot_nid.is_some() && known.room_nid == room.nid;
    Ok(known.get(event_id).filter(placed).map(|known| known.verdict))
}

/// What the specification lists under `PUT /send_join` and its kin.
fn check_fits(pdu: &Pdu, arrival: &Arrival<'_>, membership: Membership) -> Result<(), ArrivalError> {
    let unfit = if pdu.room_id() != arrival.room_id {
        "the event is of another room"
    } else if pdu.event_id() != arrival.event_id {
        "the event has another id"
    } else if pdu.event_type() != "m.room.member" {
        "the event is not of type m.room.member"
    } else if Membership::of(pdu) != Some(membership) {
        "the event is of another membership"
    } else if pdu.sender().server_name() != arrival.origin.as_str() {
        "the sender is not on your server"
    } else if pdu.state_key() != Some(pdu.sender().as_str()) {
        "the event is about somebody else than its sender"
    } else if !pdu.content_hash_matches() {
        "the content's hash does not match"
    } else {
        return Ok(());
    };
    Err(ArrivalError::Unfit(unfit))
}

/// Gives the event its place in the room; whether the room allows it. A join counts among the room's.
async fn accept(
    receiver: &PduReceiver,
    origin: &ServerName,
    room: &Arc<Room>,
    pdu: &Pdu,
) -> Result<bool, ArrivalError> {
    let limits = &receiver.writer.limits;
    let is_joined = room.view().state.membership(pdu.sender().as_str()) == Some(Membership::Join);
    let is_new_join = Membership::of(pdu) == Some(Membership::Join) && !is_joined;
    let counted = is_new_join.then(|| limits.join_of_room(&room.id)).transpose().map_err(ServeError::from)?;
    let accepted = receiver.accept(origin, room, pdu.clone()).await?;
    let allowed = !matches!(accepted, Accepted::SoftFailed | Accepted::Rejected);
    if let Some(counted) = counted.filter(|_| allowed) {
        counted.succeeded();
    }
    Ok(allowed)
}

/// The event, signed by this server when it joins a user in the name of one of ours (client-server API, "Restricted
/// rooms"): one who is in the room and may let others in, for a user who satisfies the room's conditions as far as
/// anybody has to.
async fn vouched(writer: &RoomWriter, room: &Room, pdu: Pdu) -> Result<Pdu, ArrivalError> {
    let Some(named) = pdu.content().get("join_authorised_via_users_server") else { return Ok(pdu) };
    if Membership::of(&pdu) != Some(Membership::Join) || !pdu.rules().auth.restricted_joins {
        return Ok(pdu);
    }
    let refused = |problem| ArrivalError::from(ServeError::NotAnAuthoriser(problem));
    let named = named.as_str().and_then(|user| UserId::try_from(user).ok());
    let named = named.ok_or_else(|| refused("the authorising user is no user id"))?;
    if named.server_name() != writer.server_name().as_str() {
        return Err(refused("this server cannot sign in the name of a user of another server"));
    }
    if !restricted::is_authoriser(&room.view(), &named) {
        return Err(refused("the authorising user cannot let others into the room"));
    }
    handshake::authoriser(writer.rooms(), room, pdu.sender()).await?;
    Ok(sign::add_signature(&pdu, &writer.signing_key, writer.server_name())?)
}
