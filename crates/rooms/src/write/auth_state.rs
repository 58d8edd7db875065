//! The part of a state that the authorization of an event depends on.

use plexus_protocol::auth::AuthEvent;
use plexus_protocol::event::{Pdu, auth_types};
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::DbError;

use crate::model::rooms::Rooms;
use crate::model::state_map::StateMap;

/// The part of a state that the authorization of an event depends on.
pub(crate) struct AuthState {
    pub auth_events: Vec<EventId>,
    pub state: Vec<Pdu>,
}

impl AuthState {
    /// Adds accepted member events of users without one in the state.
    pub(crate) fn add_members<'a>(&mut self, events: impl Iterator<Item = &'a AuthEvent>) {
        for AuthEvent { pdu, .. } in events.filter(|event| !event.rejected) {
            let Some(user) = pdu.state_key().filter(|_| pdu.event_type() == "m.room.member") else { continue };
            if !self.state.iter().any(|known| known.is_state("m.room.member", user)) {
                self.state.push(pdu.clone());
            }
        }
    }

    /// Returns the lookup that `auth::check` takes.
    pub(crate) fn lookup(&self) -> impl Fn(&str, &str) -> Option<Pdu> {
        |event_type, state_key| self.state.iter().find(|pdu| pdu.is_state(event_type, state_key)).cloned()
    }
}

/// Returns the part of a state that the authorization of an event depends on.
pub(crate) async fn auth_state(
    rooms: &Rooms,
    version: RoomVersion,
    state: &StateMap,
    pdu: &Pdu,
) -> Result<AuthState, DbError> {
    let keys =
        auth_types::auth_event_keys(version.rules(), pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
    auth_state_of(rooms, version, state, keys).await
}

pub(crate) async fn auth_state_of(
    rooms: &Rooms,
    version: RoomVersion,
    state: &StateMap,
    keys: Vec<(String, String)>,
) -> Result<AuthState, DbError> {
    let mut found =
        AuthState { auth_events: Vec::with_capacity(keys.len()), state: Vec::with_capacity(keys.len() + 1) };
    for (event_type, state_key) in keys {
        if let Some(entry) = state.get(&event_type, &state_key) {
            let pdu = rooms.entry_pdu(version, entry).await?;
            found.auth_events.push(pdu.event_id().clone());
            found.state.push(pdu);
        }
    }
    if version.rules().create_event_is_room_id
        && let Some(create) = state.get("m.room.create", "")
    {
        found.state.push(rooms.entry_pdu(version, create).await?);
    }
    Ok(found)
}
