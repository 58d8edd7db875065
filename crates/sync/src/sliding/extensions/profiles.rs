//! Profiles (MSC4262).

use std::collections::BTreeSet;

use plexus_protocol::id::UserId;
use plexus_store::{DbError, RoomNid};

use super::ExtensionReader;
use crate::delta::{ProfileFields, ProfileUpdates, all_user_changes, profiles};
use crate::sliding::connections::StateChange;
use crate::sliding::room::RoomUpdate;
use crate::sliding::rooms::RoomUpdates;

impl ExtensionReader<'_> {
    /// Reads the profiles that changed, and those of the users of rooms that are new to the connection; those of all
    /// rooms in `wanted` if the client asks for other fields than before.
    pub(super) async fn profiles(
        &self,
        wanted: &BTreeSet<RoomNid>,
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
            let met = all_user_changes::read(self.context).await?;
            updates = profiles::changed(self.context, &met).await?;
        } else {
            rooms.state.profiles = fields.clone();
            rooms.changed_by(StateChange::Durable);
            users.insert(self.context.request.user.clone());
        }
        for nid in wanted {
            let update = rooms.updates.get(nid);
            if !follows || update.is_some_and(|update| update.initial) {
                users.extend(self.shown_users(*nid, update).await?);
            }
        }
        profiles::add_current(self.context, users, &mut updates).await?;
        Ok(updates)
    }

    /// Returns the users of this server in a room whose profiles its client shows: with lazily loaded members only the
    /// senders of the events that are sent with it, and its heroes.
    async fn shown_users(&self, nid: RoomNid, update: Option<&RoomUpdate>) -> Result<Vec<UserId>, DbError> {
        let Some(room) = self.context.parts.rooms.get_readable_nid(nid).await? else { return Ok(Vec::new()) };
        let view = room.view();
        let local = &view.local_joined;
        let is_lazy =
            self.selection.rooms.get(&nid).is_some_and(|relevant| relevant.config.required_state.lazy_members);
        let Some(update) = update.filter(|_| is_lazy) else { return Ok(local.iter().cloned().collect()) };
        let events = update.timeline.iter().flat_map(|timeline| timeline.events.iter());
        let mut users: BTreeSet<UserId> = events.map(|event| event.pdu.sender().clone()).collect();
        let heroes = update.heroes.iter().flatten();
        users.extend(heroes.filter_map(|hero| UserId::try_from(hero.user_id.as_str()).ok()));
        users.retain(|user| local.find(|member| member.cmp(user)).is_some());
        Ok(users.into_iter().collect())
    }
}

/// Forgets what the client has of profiles: when it asks for them again, it is sent all.
pub(super) fn leave_out_profiles(rooms: &mut RoomUpdates) {
    if rooms.state.profiles != ProfileFields::None {
        rooms.state.profiles = ProfileFields::None;
        rooms.changed_by(StateChange::Durable);
    }
}
