//! The timeline of a room in an answer.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, EventNid, Position};

use crate::history;

/// How often more events are looked at because the filter left too few.
const MAX_LOADS: usize = 5;

/// Which events are wanted.
pub(super) struct Wanted<'w> {
    /// Only events after this.
    pub after: Position,
    /// Only events at or before this.
    pub upto: Position,
    /// The most events.
    pub limit: usize,
    /// The filter.
    pub keep: &'w (dyn Fn(&TimelineEvent) -> bool + Sync),
}

/// The newest events of a room.
#[derive(Default)]
pub(super) struct Timeline {
    /// What is shown, oldest first.
    pub events: Vec<Arc<TimelineEvent>>,
    /// Everything after `start`, shown or not, oldest first.
    pub all: Vec<Arc<TimelineEvent>>,
    /// The timeline begins after this position.
    pub start: Position,
    /// Whether there are more events between what is wanted and what is shown.
    pub limited: bool,
    /// At which of the shown events the user was something else than joined.
    pub away: HashMap<EventNid, Membership>,
}

impl Timeline {
    /// Reads events, newest first, until enough pass the filter, or back to where this server was away for long: what
    /// it has of that came later than what follows it, or is to be fetched yet.
    pub async fn load(room: &Room, wanted: Wanted<'_>) -> Result<Self, DbError> {
        let Wanted { after, upto, limit, keep } = wanted;
        let gap = room.view().gaps.newest_between(after, upto);
        let after = gap.map_or(after, |top| top - 1);
        let (mut all, mut kept) = (Vec::new(), Vec::new());
        let mut reached = upto;
        let mut exhausted = false;
        for _ in 0..MAX_LOADS {
            let missing = limit + 1 - kept.len();
            let chunk = history::newest(room, after, reached, missing).await?;
            exhausted = chunk.len() < missing;
            reached = chunk.first().map_or(after, |event| event.position - 1);
            for event in chunk.into_iter().rev() {
                if keep(&event) {
                    kept.push(Arc::clone(&event));
                }
                all.push(event);
            }
            if exhausted || kept.len() > limit {
                break;
            }
        }
        let cut = kept.len() > limit;
        kept.truncate(limit);
        let start = match kept.last() {
            _ if exhausted && !cut => after,
            Some(oldest) if cut => oldest.position - 1,
            None if cut => upto,
            _ => reached,
        };
        kept.reverse();
        all.reverse();
        all.retain(|event| event.position > start);
        Ok(Self { events: kept, all, start, limited: cut || !exhausted || gap.is_some(), away: HashMap::new() })
    }

    /// Begins with the first event that is shown, for a reader who may not see what comes before: nor what the state
    /// was then. `upto`: where the timeline ends.
    pub fn begin_with_shown(&mut self, upto: Position) {
        let first = self.events.first().map_or(upto, |first| first.position - 1);
        self.start = first.max(self.start);
        self.all.retain(|event| event.position > self.start);
    }

    /// Where paging back through the room's history begins.
    pub fn prev_batch(&self) -> Position {
        // The end of an invite to a room of other servers has no position in a timeline.
        let first = self.events.first().filter(|first| first.position != 0);
        first.map_or(self.start, |first| first.position - 1)
    }
}
