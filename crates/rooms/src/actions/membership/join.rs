//! Joining a room.

use std::sync::Arc;

use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;

use super::remote::Via;
use super::{MembershipChange, MembershipChanger, MembershipError, membership_in, restricted};
use crate::actions::upgrade::successor;
use crate::model::partial_state::{servers_with_state, unfinished};
use crate::model::room::Room;
use crate::write::append::Sent;

/// How many servers that have all of a room's state are asked to let a user in, who waits meanwhile.
const MAX_SERVERS_WITH_STATE: usize = 3;
/// The HTTP status by which such a server does not let the user in.
const FORBIDDEN: u16 = 403;

impl MembershipChanger {
    /// `target` joins; it is also the sender. `guest`: the user is a guest.
    pub async fn join(&self, change: MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        let room = self.room_here(&change.room_id).await?;
        if room.as_ref().is_some_and(|room| membership_in(room, &change.target) == Some(Membership::Join)) {
            // A change of the name or avatar in the room.
            return self.enter(room, &change, guest).await;
        }
        let limits = &self.writer.limits;
        let counted = limits.join(change.authority, &change.target, &change.room_id, room.is_none())?;
        let joined = self.enter(room, &change, guest).await?;
        counted.succeeded();
        Ok(joined)
    }

    async fn enter(
        &self,
        room: Option<Arc<Room>>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        let Some(room) = room else {
            return self.enter_elsewhere(change, guest).await;
        };
        if let Some(joined) = self.join_with_part_of_state(&room, change, guest).await {
            return joined;
        }
        match self.join_here(&room, change, guest).await {
            Err(MembershipError::UnableToGrantJoin) => self.join_by_others(&room, change, guest).await,
            other => other,
        }
    }

    /// Joins a room that this server is not in. Whether a guest may be in it is not known before, so that guests only
    /// go where they are invited; one who may not be there leaves again ([`crate::GuestRemoval`]).
    async fn enter_elsewhere(&self, change: &MembershipChange, guest: bool) -> Result<Sent, MembershipError> {
        if guest {
            let room = self.rooms.get(&change.room_id).await?;
            let membership = room.and_then(|room| membership_in(&room, &change.target));
            if membership != Some(Membership::Invite) {
                return Err(MembershipError::GuestsForbidden);
            }
        }
        let servers = self.ways_in(change).await?;
        let sent =
            self.remote(&servers)?.join(change, Via { servers: &servers, room: None }, decided_for(guest)).await?;
        let room = if guest { self.rooms.get(&change.room_id).await? } else { None };
        if room.is_some_and(|room| !room.view().guests_can_join) {
            Err(MembershipError::GuestsForbidden)
        } else {
            Ok(sent)
        }
    }

    async fn join_here(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        if membership_in(room, &change.target) != Some(Membership::Join) {
            self.rooms.full_state(room).await?;
        }
        let is_joined = membership_in(room, &change.target) == Some(Membership::Join);
        if guest && !is_joined && !room.view().guests_can_join {
            return Err(MembershipError::GuestsForbidden);
        }
        let mut decided = decided_for(guest);
        if let Some(authoriser) = restricted::authoriser(&self.rooms, room, &change.target).await? {
            decided.insert("join_authorised_via_users_server", authoriser.as_str());
        }
        let is_first = successor::is_first_join(room, &change.target);
        let sent = self.set(room, change, "join", Some(&change.target), &decided).await?;
        if guest && !room.view().guests_can_join {
            // Guest access ended while the guest joined.
            let leave = MembershipChange { content: Object::new(), reason: None, ..change.clone() };
            self.set(room, &leave, "leave", None, &Object::new()).await?;
            return Err(MembershipError::GuestsForbidden);
        }
        if is_first {
            successor::joined(&self.rooms, room, &change.target).await;
        }
        Ok(sent)
    }

    /// Where members are missing from the room's state, asks the servers that have all of it to let the user in. `None`
    /// when this server has to decide itself, once it can: nothing is missing, or none of the others does.
    async fn join_with_part_of_state(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Option<Result<Sent, MembershipError>> {
        let view = room.view();
        let partial = unfinished(&view)?;
        if view.state.membership(change.target.as_str()) == Some(Membership::Join) {
            return None;
        }
        if guest && !view.guests_can_join {
            return Some(Err(MembershipError::GuestsForbidden));
        }
        let mut servers = servers_with_state(&partial, &view, self.rooms.server_name());
        servers.truncate(MAX_SERVERS_WITH_STATE);
        let joined = self
            .remote(&servers)
            .ok()?
            .join(change, Via { servers: &servers, room: Some(room) }, decided_for(guest))
            .await;
        match &joined {
            Ok(_) => Some(joined),
            Err(MembershipError::Remote(error)) if error.status() == Some(FORBIDDEN) => Some(joined),
            Err(_) => None,
        }
    }

    /// Has another server let the user in, who belongs to one of the rooms whose members may join: no user of this
    /// server has the power to. Only servers that have such a user, by the room's state as this server knows it, are
    /// asked.
    async fn join_by_others(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        guest: bool,
    ) -> Result<Sent, MembershipError> {
        let servers = restricted::servers_with_authorisers(&room.view(), self.rooms.server_name());
        let Ok(remote) = self.remote(&servers) else { return Err(MembershipError::UnableToGrantJoin) };
        match remote.join(change, Via { servers: &servers, room: Some(room) }, decided_for(guest)).await {
            Err(MembershipError::Remote(_)) => Err(MembershipError::UnableToGrantJoin),
            other => other,
        }
    }
}

/// What this server says in the join of a guest (Synapse's mark, which clients and bridges look for).
fn decided_for(guest: bool) -> Object {
    if guest { Object::from([("kind", "guest")]) } else { Object::new() }
}
