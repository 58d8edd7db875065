//! Presence of the users who share a room with the user.

use plexus_protocol::id::UserId;
use plexus_store::DbError;

use super::context::Context;
use super::user_changes::UserChanges;
use crate::presence::{PresenceState, PresenceView, share_room};

/// Returns the users whose presence changed since the token, and those who have come to share a room with the user
/// since, with their presence.
pub(super) async fn changed(context: &Context<'_>, met: &UserChanges) -> Result<Vec<(UserId, PresenceView)>, DbError> {
    let (presence, me) = (&context.parts.presence, &context.request.user);
    let since = context.request.since.map_or(0, |since| since.ephemeral);
    if !presence.settings().enabled {
        return Ok(Vec::new());
    }
    let mut users = if since == 0 || since < context.now.ephemeral { presence.changed(since) } else { Vec::new() };
    users.extend(met.presence_needed.iter().cloned());
    users.sort_unstable();
    users.dedup();
    let excluded = presence.excluded_rooms(&context.parts.rooms).await?;
    let mut views = Vec::new();
    for user in users {
        if !context.filter().presence.allows("m.presence", user.as_str()) {
            continue;
        }
        let Some(view) = presence.view(&user) else { continue };
        let was_unknown = since == 0 || met.presence_needed.contains(&user);
        if was_unknown && view.state == PresenceState::Offline && !presence.settings().include_offline {
            continue;
        }
        let rooms = context.parts.rooms.memberships();
        if user == *me || share_room(&context.memberships, &rooms.of(&user).await?, &excluded) {
            views.push((user, view));
        }
    }
    Ok(views)
}
