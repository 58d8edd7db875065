//! Profiles (MSC4262).

use std::collections::BTreeSet;

use plexus_protocol::id::UserId;
use plexus_store::{DbError, RoomNid};

use super::ExtensionReader;
use crate::delta::{ProfileFields, ProfileUpdates, UserChanges, profiles};
use crate::sliding::connections::StateChange;
use crate::sliding::room::RoomUpdate;
use crate::sliding::rooms::RoomUpdates;

impl ExtensionReader<'_> {
    /// Reads the profiles that changed, those of the users of rooms that are new to the connection, and with lazily
    /// loaded members those of the users whose member events are sent; those of all rooms in `wanted` if the client
    /// asks for other fields than before. `met`: who came and went since the request's position.
    pub(super) async fn profiles(
        &self,
        wanted: &BTreeSet<RoomNid>,
        met: &UserChanges,
        rooms: &mut RoomUpdates,
    ) -> Result<ProfileUpdates, DbError> {
        let fields = &self.context.request.profiles;
        if *fields == ProfileFields::None {
            leave_out_profiles(rooms);
            return Ok(ProfileUpdates::new());
        }
        let (mut updates, mut users) = (ProfileUpdates::new(), BTreeSet::new());
        let follows = self.from.is_some() && rooms.state.profiles == *fields;
        if follows {
            updates = profiles::changed(self.context, met).await?;
        } else {
            rooms.state.profiles = fields.clone();
            rooms.changed_by(StateChange::Durable);
            users.insert(self.context.request.user.clone());
        }
        for nid in wanted {
            let is_lazy =
                self.selection.rooms.get(nid).is_some_and(|relevant| relevant.config.required_state.lazy_members);
            match rooms.updates.get(nid) {
                Some(update) if is_lazy && (follows || update.initial) => {
                    users.extend(self.local_users(*nid, Some(shown_users(update))).await?);
                }
                update if !follows || update.is_some_and(|update| update.initial) => {
                    users.extend(self.local_users(*nid, None).await?);
                }
                _ => {}
            }
        }
        profiles::add_current(self.context, users, &mut updates).await?;
        Ok(updates)
    }

    /// Returns the users of this server in a room, only those among `users` if that is there.
    async fn local_users(&self, nid: RoomNid, users: Option<BTreeSet<UserId>>) -> Result<Vec<UserId>, DbError> {
        if users.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(Vec::new());
        }
        let Some(room) = self.context.parts.rooms.get_readable_nid(nid).await? else { return Ok(Vec::new()) };
        let view = room.view();
        let local = &view.local_joined;
        let is_local = |user: &UserId| local.find(|member| member.cmp(user)).is_some();
        Ok(match users {
            Some(users) => users.into_iter().filter(is_local).collect(),
            None => local.iter().cloned().collect(),
        })
    }
}

/// Returns the users that a client with lazily loaded members shows after an update of a room and did not show before:
/// those whose member events it is sent, the heroes, and of a room that is new to it the senders.
fn shown_users(update: &RoomUpdate) -> BTreeSet<UserId> {
    let members = update.required_state.iter().filter(|event| event.pdu.event_type() == "m.room.member");
    let members = members.filter_map(|event| event.pdu.state_key());
    let heroes = update.heroes.iter().flatten().map(|hero| hero.user_id.as_str());
    let mut users: BTreeSet<UserId> = members.chain(heroes).filter_map(|user| UserId::try_from(user).ok()).collect();
    if update.initial {
        let events = update.timeline.iter().flat_map(|timeline| timeline.events.iter());
        users.extend(events.map(|event| event.pdu.sender().clone()));
    }
    users
}

/// Forgets what the client has of profiles: when it asks for them again, it is sent all.
pub(super) fn leave_out_profiles(rooms: &mut RoomUpdates) {
    if rooms.state.profiles != ProfileFields::None {
        rooms.state.profiles = ProfileFields::None;
        rooms.changed_by(StateChange::Durable);
    }
}
