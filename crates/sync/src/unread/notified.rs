//! The events behind the counts.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::push_rules::{Action, Actions};
use plexus_rooms::timeline::{Stay, current_stay};
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, Position};

use super::{UnreadCounts, evaluate};
use crate::history;

/// An event that notified a user.
#[derive(Debug)]
pub struct Notified {
    /// The event.
    pub event: Arc<TimelineEvent>,
    /// The actions of the rule that matched.
    pub actions: Vec<Action>,
    /// Whether it notified with emphasis.
    pub highlight: bool,
    /// Whether a receipt of the user is at or after it.
    pub read: bool,
}

impl UnreadCounts {
    /// Returns the actions of a user's push rules for an event, if it notifies the user and the user has not read it.
    pub async fn unread_actions(
        &self,
        user: &UserId,
        room: &Room,
        event: &TimelineEvent,
    ) -> Result<Option<Actions>, DbError> {
        let settings = self.settings.get(user).await?;
        if !self.evaluate(user, room, &settings, event).await?.notify {
            return Ok(None);
        }
        let entry = self.entry(user);
        let mut loaded = entry.loaded.lock().await;
        let read = self.load(user, &entry, &mut loaded).await?.read.get(&room.nid);
        if read.is_some_and(|read| read.covers(evaluate::thread_of(&event.pdu), event.position)) {
            return Ok(None);
        }
        drop(loaded);
        self.actions(user, room, &settings, event).await.map(Some)
    }

    /// Returns those of the newest `limit` events at or before `upto`, from the user's present stay, that notified the
    /// user, oldest first. `member` is the position of the user's member event.
    pub async fn notified(
        &self,
        user: &UserId,
        room: &Room,
        (member, upto): (Position, Position),
        limit: usize,
    ) -> Result<Vec<Notified>, DbError> {
        let settings = self.settings.get(user).await?;
        let after = current_stay(room, user, member, Stay::default()).await?.since;
        let mut found = Vec::new();
        for event in history::newest(room, after, upto, limit).await? {
            let outcome = self.evaluate(user, room, &settings, &event).await?;
            if outcome.notify {
                let actions = self.actions(user, room, &settings, &event).await?.all;
                found.push(Notified { event, actions, highlight: outcome.highlight, read: false });
            }
        }
        let entry = self.entry(user);
        let mut loaded = entry.loaded.lock().await;
        if let Some(read) = self.load(user, &entry, &mut loaded).await?.read.get(&room.nid) {
            for notified in &mut found {
                notified.read = read.covers(evaluate::thread_of(&notified.event.pdu), notified.event.position);
            }
        }
        Ok(found)
    }
}
