//! The users who have come to share a room with a user, and those who have left.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, RoomView, TimelineEvent, timeline};
use plexus_store::{DbError, Position};

use super::context::Context;

/// The users who have come to share a room with the user since the token, and those who have left.
#[derive(Default)]
pub(crate) struct UserChanges {
    /// The users whose keys the client has to query: those who joined, knocked or were invited, and those in a room
    /// that has become encrypted.
    pub keys_needed: BTreeSet<UserId>,
    /// The users who left a room of the user.
    pub left: BTreeSet<UserId>,
    /// The users whose presence the client has not been sent.
    pub presence_needed: BTreeSet<UserId>,
}

impl UserChanges {
    /// Adds the users of a room that the user has left: those who were in it at `until` and still are.
    pub(super) async fn add_left(
        &mut self,
        context: &Context<'_>,
        room: &Room,
        until: Position,
    ) -> Result<(), DbError> {
        // The user never met those who came later.
        let later = timeline::state_delta(room, until, context.now.position).await?;
        let members = later.iter().filter(|event| event.pdu.event_type() == "m.room.member");
        let later: HashSet<&str> = members.filter_map(|event| event.pdu.state_key()).collect();
        self.left.extend(joined_members(&room.view()).filter(|user| !later.contains(user.as_str())));
        Ok(())
    }

    /// Adds the users of a room; with `met_all` all of them, because the user has joined it.
    pub(super) fn add_room<'e>(
        &mut self,
        context: &Context<'_>,
        view: &RoomView,
        met_all: bool,
        events: impl Iterator<Item = &'e Arc<TimelineEvent>>,
    ) {
        if context.request.since.is_none() {
            return;
        }
        if met_all {
            let is_in = |user: &UserId| view.state.membership(user.as_str()) == Some(Membership::Join);
            self.presence_needed.extend(context.parts.presence.not_offline().into_iter().filter(is_in));
            self.keys_needed.extend(joined_members(view));
        }
        for event in events {
            if event.pdu.event_type() == "m.room.encryption" && view.is_encrypted() {
                let others = joined_members(view).filter(|user| *user != context.request.user);
                self.keys_needed.extend(others);
            }
            if event.pdu.event_type() == "m.room.member" {
                self.add_member(view, event);
            }
        }
    }

    fn add_member(&mut self, view: &RoomView, event: &TimelineEvent) {
        let Some(user) = event.pdu.state_key().and_then(|user| UserId::try_from(user).ok()) else { return };
        let current = view.state.membership(user.as_str());
        match Membership::of(&event.pdu) {
            Some(Membership::Join) if !was_joined_before(event) && current == Some(Membership::Join) => {
                self.keys_needed.insert(user.clone());
                self.presence_needed.insert(user);
            }
            // Messages may be encrypted for them already.
            kind @ Some(Membership::Invite | Membership::Knock) if kind == current => {
                self.keys_needed.insert(user);
            }
            Some(Membership::Leave | Membership::Ban) if was_joined_before(event) => {
                self.left.insert(user);
            }
            _ => {}
        }
    }
}

/// Returns the joined members of a room.
fn joined_members(view: &RoomView) -> impl Iterator<Item = UserId> {
    let members = view.state.of_type("m.room.member");
    let joined = members.filter(|entry| entry.membership == Some(Membership::Join));
    joined.filter_map(|entry| UserId::try_from(&*entry.state_key).ok())
}

/// Whether the user of a member event was in the room before it.
fn was_joined_before(event: &TimelineEvent) -> bool {
    #[derive(serde::Deserialize)]
    struct Content<'c> {
        membership: std::borrow::Cow<'c, str>,
    }
    event.replaced.as_ref().is_some_and(|replaced| {
        serde_json::from_str::<Content<'_>>(&replaced.content_json).is_ok_and(|content| content.membership == "join")
    })
}
