//! Presence of the people the user shares rooms with.

use plexus_store::DbError;

use super::build::Build;
use super::devices::Encounters;
use crate::presence::{PresenceState, share_room};

impl Build<'_> {
    /// The `m.presence` events of those whose presence changed since the token, and of those whom the user has met since.
    pub async fn presence(&self, encounters: &Encounters) -> Result<Vec<String>, DbError> {
        let (presence, me) = (&self.parts().presence, &self.request.user);
        let since = self.request.since.map_or(0, |since| since.ephemeral);
        if !presence.settings().enabled {
            return Ok(Vec::new());
        }
        let mut users = if since == 0 || since < self.now.ephemeral { presence.changed(since) } else { Vec::new() };
        users.extend(encounters.met.iter().cloned());
        users.sort_unstable();
        users.dedup();
        let excluded = presence.excluded_rooms(&self.parts().rooms).await?;
        let mut events = Vec::new();
        for user in users {
            if !self.filter().presence.allows("m.presence", user.as_str()) {
                continue;
            }
            let Some(view) = presence.view(&user) else { continue };
            let was_unknown = since == 0 || encounters.met.contains(&user);
            if was_unknown && view.state == PresenceState::Offline && !presence.settings().include_offline {
                continue;
            }
            if user == *me || share_room(&self.memberships, &self.rooms_of(&user).await?, &excluded) {
                events.push(presence.event(&user, &view));
            }
        }
        Ok(events)
    }
}
