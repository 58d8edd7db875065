//! The members that a room is named after.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, RoomView, StateEntry, TimelineEvent, heroes_among, timeline};
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
    of_events(room, timeline::state_events(room, &entries).await?, user).await
}

/// Returns the members of an earlier state to name a room after for a user.
pub(super) async fn heroes_of_state(
    room: &Room,
    state: &[Arc<TimelineEvent>],
    user: &UserId,
) -> Result<Vec<Hero>, DbError> {
    let mut members: Vec<&Arc<TimelineEvent>> =
        state.iter().filter(|event| event.pdu.event_type() == "m.room.member").collect();
    members.sort_unstable_by_key(|event| event.pdu.state_key());
    let memberships = || members.iter().filter_map(|event| Some((event.pdu.state_key()?, Membership::of(&event.pdu))));
    let heroes = heroes_among(memberships, user);
    let is_hero = |event: &&&Arc<TimelineEvent>| heroes.iter().any(|hero| event.pdu.state_key() == Some(hero.as_str()));
    let events = members.iter().filter(is_hero).map(|event| Arc::clone(event)).collect();
    of_events(room, events, user).await
}

async fn of_events(room: &Room, events: Vec<Arc<TimelineEvent>>, user: &UserId) -> Result<Vec<Hero>, DbError> {
    let events = timeline::state_for(user, room, events).await?;
    let hero = |event: &Arc<TimelineEvent>| {
        let text = |member| event.pdu.content().get_str(member).map(str::to_owned);
        let user_id = event.pdu.state_key()?.to_owned();
        Some(Hero { user_id, displayname: text("displayname"), avatar_url: text("avatar_url") })
    };
    Ok(events.iter().filter_map(hero).collect())
}
