//! Selects the events that this server sends to other servers.

use std::collections::BTreeSet;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_store::repo::federation_out::Outgoing;
use plexus_store::{Change, DbError, Position, RoomNid, StickyEvent, Tx};

use crate::model::current_state::CurrentState;
use crate::model::engine_memory::EngineMemory;
use crate::write::pending::{Forwarding, PendingEvent};

/// Returns the row of an event that this server sends to others: to those in the room before or after it, and to the
/// server of the user that it is about. `None` if there is no other server.
pub(super) fn outgoing(
    own_server: &str,
    room_nid: RoomNid,
    position: Position,
    event: &PendingEvent,
    before: &CurrentState,
) -> Option<Outgoing> {
    let submitted_by = match &event.forwarding {
        Forwarding::No => return None,
        Forwarding::Own => None,
        Forwarding::SubmittedBy(server) => Some(server.to_string()),
    };
    let after = &event.current.servers;
    let mut also = BTreeSet::new();
    for change in event.changes.iter().filter(|change| &*change.event_type == "m.room.member") {
        if let Ok(user) = UserId::try_from(&*change.state_key)
            && before.servers.contains(user.server_name())
        {
            also.insert(user.server_name().to_owned());
        }
    }
    also.extend(server_of_removed(&event.pdu));
    also.retain(|server| !after.contains(server) && server != own_server && Some(server) != submitted_by.as_ref());
    let others = after.len() - usize::from(after.contains(own_server));
    if others == 0 && also.is_empty() {
        return None;
    }
    let also_to = (!also.is_empty()).then(|| also.into_iter().collect::<Vec<_>>().join(" "));
    Some(Outgoing { position, room_nid, event_nid: event.nid, handed_by: submitted_by, also_to, only_to: None })
}

/// Returns the server of a user who is removed: the user may only be invited or knocking, so that their server is not
/// in the room.
fn server_of_removed(pdu: &Pdu) -> Option<String> {
    let user = UserId::try_from(pdu.state_key().filter(|_| pdu.event_type() == "m.room.member")?).ok()?;
    let membership = Membership::of(pdu)?;
    let away = matches!(membership, Membership::Leave | Membership::Ban);
    (away && user != *pdu.sender()).then(|| user.server_name().to_owned())
}

/// Returns the rows of all of this server's sticky events in a room, for the server of a user who joins now, if that
/// server was not in the room `before` (MSC4354).
pub(super) fn outgoing_to_new_server(
    tx: &mut Tx<'_>,
    memory: &EngineMemory,
    room_nid: RoomNid,
    user: &UserId,
    before: &CurrentState,
) -> Result<Vec<Outgoing>, DbError> {
    if memory.sticky.is_empty() || before.servers.contains(user.server_name()) {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for StickyEvent { event_nid, .. } in memory.sticky.in_room(room_nid).into_iter().filter(|event| event.is_own) {
        let (position, only_to) = (tx.next_position()?, Some(user.server_name().to_owned()));
        rows.push(Outgoing { position, room_nid, event_nid, handed_by: None, also_to: None, only_to });
    }
    if let Some(last) = rows.last() {
        tx.announce(Change::OutgoingToNewServer { position: last.position });
    }
    Ok(rows)
}
