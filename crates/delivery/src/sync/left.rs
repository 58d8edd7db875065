//! A room the user has left or was banned from.

use std::sync::Arc;

use plexus_rooms::{Membership, Room};
use plexus_store::DbError;

use super::build::{Build, Hints};
use super::devices::{Encounters, is_encrypted};
use super::joined::joined_members;
use super::state::StateOf;
use super::timeline::Timeline;
use crate::history;
use crate::json::Members;

impl Build<'_> {
    /// What happened in the room up to the leave.
    pub(super) async fn left(
        &self,
        room: &Arc<Room>,
        membership: &Membership,
        hints: Hints,
        encounters: &mut Encounters,
    ) -> Result<Option<String>, DbError> {
        let upto = membership.position;
        let since = self.since_position();
        let was_joined = self.request.since.is_some() && self.was_joined(room).await?;
        let timeline = match self.request.since {
            Some(_) if was_joined => self.timeline(room, since, upto, Some(membership)).await?,
            None => self.timeline(room, 0, upto, Some(membership)).await?,
            // Whoever was not in the room learns of the end of the invite or knock, or of the ban, and no more.
            Some(_) => Timeline {
                events: history::newest(room, upto - 1, upto, 1).await?,
                start: upto - 1,
                ..Timeline::default()
            },
        };
        let view = room.view();
        if was_joined && is_encrypted(room) {
            encounters.left.extend(joined_members(&view));
        }
        let of = StateOf { room, view: &view, timeline: &timeline, heroes: &[] };
        let state = match self.request.since {
            Some(_) if was_joined => self.changed_state(&of, since).await?,
            Some(_) => Vec::new(),
            None => self.state_at_leave(&of, upto).await?,
        };
        let mut out = String::with_capacity(1024);
        let mut members = Members::open(&mut out);
        self.write_state(&mut members, &state);
        self.write_timeline(&mut members, room, &timeline).await?;
        members.events("account_data", hints.account_data.iter().map(String::as_str));
        members.close();
        Ok(Some(out))
    }
}
