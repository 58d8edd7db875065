//! Evaluates the push rules of a user for an event.

use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::push_rules::{Actions, EventView, Owner, RoomContext};
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, Position, RoomNid, repo};

use super::UnreadCounts;
use crate::settings::UserSettings;

/// Whether an event notifies, and whether with emphasis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the event notifies.
    pub notify: bool,
    /// Whether it notifies with emphasis.
    pub highlight: bool,
}

impl From<&Actions> for Outcome {
    fn from(actions: &Actions) -> Self {
        Self { notify: actions.notify, highlight: actions.highlight }
    }
}

impl UnreadCounts {
    pub(super) async fn evaluate(
        &self,
        user: &UserId,
        room: &Room,
        settings: &UserSettings,
        event: &TimelineEvent,
    ) -> Result<Outcome, DbError> {
        let pdu = &event.pdu;
        if !self.settings.has_notifications()
            || pdu.sender() == user
            || event.is_redacted
            || event.is_dummy()
            || settings.ignored.contains(pdu.sender().as_str())
        {
            return Ok(Outcome::default());
        }
        let view = room.view();
        let seen = EventView::new(pdu);
        let context = RoomContext { member_count: view.joined_count, power_levels: Some(&view.power_levels) };
        let rules = &settings.rules;
        let key = (event.nid, rules.id);
        let shared = self.outcomes.get(&key).unwrap_or_else(|| {
            let shared = rules.compiled.evaluate_for_all(&seen, &context).map(Outcome::from);
            self.outcomes.insert(key, shared);
            shared
        });
        if let Some(outcome) = shared {
            return Ok(outcome);
        }
        Ok(Outcome::from(&self.actions(user, room, settings, event).await?))
    }

    /// Returns the actions of the rule that matches.
    pub(super) async fn actions(
        &self,
        user: &UserId,
        room: &Room,
        settings: &UserSettings,
        event: &TimelineEvent,
    ) -> Result<Actions, DbError> {
        let view = room.view();
        let (rules, seen) = (&settings.rules.compiled, EventView::new(&event.pdu));
        let context = RoomContext { member_count: view.joined_count, power_levels: Some(&view.power_levels) };
        let needed = rules.owner_facts(&seen, &context, user);
        let member = match view.state.get("m.room.member", user.as_str()).filter(|_| needed.display_name) {
            Some(entry) => room.readable_state_event(entry).await?,
            None => None,
        };
        let display_name = member.as_ref().and_then(|member| member.pdu.content().get("displayname")?.as_str());
        let is_needed = needed.thread_subscribed && self.settings.predefined_rules().thread_subscriptions;
        let thread_subscribed = match thread_of(&event.pdu).filter(|_| is_needed) {
            Some(root) => Some(self.is_subscribed(user, room.nid, root, event.position).await?),
            None => None,
        };
        Ok(rules.evaluate(&seen, &context, Owner { user_id: user, display_name, thread_subscribed }).clone())
    }

    /// Whether a user was subscribed to a thread when an event in it came.
    async fn is_subscribed(&self, user: &UserId, room: RoomNid, root: &str, event: Position) -> Result<bool, DbError> {
        let (user, root) = (user.clone(), root.to_owned());
        let found = self.db.read(move |tx| repo::thread_subscriptions::get(tx, &user, room, &root)).await?;
        Ok(found.is_some_and(|subscription| subscription.covers(event)))
    }
}

/// Returns the root of the thread an event belongs to; `None`: the main timeline.
pub(super) fn thread_of(pdu: &Pdu) -> Option<&str> {
    let relation = pdu.content().get("m.relates_to")?.as_object()?;
    let is_thread = relation.get("rel_type")?.as_str()? == "m.thread";
    relation.get("event_id")?.as_str().filter(|_| is_thread)
}
