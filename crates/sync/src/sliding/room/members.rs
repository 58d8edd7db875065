//! The members that a room is named after.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_rooms::{Room, RoomView, StateEntry, timeline};
use plexus_store::DbError;

/// A member to name a room after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hero {
    pub user_id: String,
    pub displayname: Option<String>,
    pub avatar_url: Option<String>,
}

/// Returns the members to name a room after for a user.
pub(super) async fn heroes(room: &Room, view: &RoomView, user: &UserId) -> Result<Vec<Hero>, DbError> {
    let heroes = view.heroes(user);
    let entries = heroes.iter().filter_map(|hero| view.state.get("m.room.member", hero.as_str()));
    let entries: Vec<Arc<StateEntry>> = entries.cloned().collect();
    let events = timeline::state_for(user, room, timeline::state_events(room, &entries).await?).await?;
    let hero = |event: &Arc<plexus_rooms::TimelineEvent>| {
        let text = |member| event.pdu.content().get_str(member).map(str::to_owned);
        let user_id = event.pdu.state_key()?.to_owned();
        Some(Hero { user_id, displayname: text("displayname"), avatar_url: text("avatar_url") })
    };
    Ok(events.iter().filter_map(hero).collect())
}
