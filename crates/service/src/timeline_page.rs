//! Pages of a room's timeline, as /messages and /context return them.

use std::ops::ControlFlow;
use std::sync::Arc;

use plexus_federation::{BackfillOutcome, PduReceiver};
use plexus_protocol::id::UserId;
use plexus_rooms::timeline::{self, Direction, VisibleEvent};
use plexus_rooms::{Room, TimelineEvent};
use plexus_store::{DbError, EventNid, Position};
use plexus_sync::UserSettings;
use plexus_sync::filter::RoomEventFilter;

/// How many times a strict filter may make the server read events for one page.
const MAX_READS: usize = 10;
/// How many times events are fetched into gaps of the timeline for one page: some thousands of them each time.
const MAX_FILLS: usize = 3;

/// The events to be read: `after < position <= upto`.
pub struct TimelineRange {
    /// The events lie after this.
    pub after: Position,
    /// The last event that may be read.
    pub upto: Position,
    /// The most events.
    pub limit: usize,
    /// From which end to read.
    pub direction: Direction,
}

/// A page of events.
pub struct TimelinePage {
    /// In the order in which they were read.
    pub events: Vec<VisibleEvent>,
    /// Where the next page begins; `None` when there is nothing further.
    pub end: Option<Position>,
}

/// Reads the events of a room that a user may see and a filter lets through.
pub struct TimelineReader<'a> {
    /// The room whose timeline is read.
    pub room: &'a Arc<Room>,
    /// The user whose view of the room counts.
    pub user: &'a UserId,
    /// The user's settings: messages of users that they ignore are left out.
    pub settings: &'a UserSettings,
    /// The events that the client wants.
    pub filter: &'a RoomEventFilter,
    /// Fetches events that this server lacks. Without it a page ends where they are missing.
    pub history: Option<&'a PduReceiver>,
}

/// A page being read.
struct Reading<'a> {
    reader: &'a TimelineReader<'a>,
    /// The events that are still to be read; it shrinks.
    range: TimelineRange,
    events: Vec<VisibleEvent>,
    fills: usize,
}

/// Whether to read on; where the page ends otherwise, as in [`TimelinePage::end`].
type Step = ControlFlow<Option<Position>>;

impl TimelinePage {
    /// Returns the `end` of `/messages`. Every page that is not empty has one, also the last: some clients drop a page
    /// without one.
    #[must_use]
    pub fn end_for_clients(&self, direction: Direction) -> Option<Position> {
        self.end.or_else(|| end_of(&self.events, direction))
    }
}

impl TimelineReader<'_> {
    /// Reads a page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(&self, range: TimelineRange) -> Result<TimelinePage, DbError> {
        let mut reading = Reading { reader: self, range, events: Vec::new(), fills: 0 };
        if !self.filter.allows_room(self.room.id.as_str()) {
            return Ok(TimelinePage { events: reading.events, end: None });
        }
        for _ in 0..MAX_READS {
            if let Step::Break(end) = reading.step().await? {
                return Ok(TimelinePage { events: reading.events, end });
            }
        }
        let end = Some(reading.start());
        Ok(TimelinePage { events: reading.events, end })
    }

    fn allows(&self, event: &TimelineEvent) -> bool {
        let pdu = &event.pdu;
        self.settings.shows_event(pdu)
            && self.filter.allows(pdu.event_type(), pdu.sender().as_str(), || pdu.content().get_str("url").is_some())
    }

    /// Fetches events that are missing from a gap of the timeline.
    async fn fill(&self, history: &PduReceiver, gap_nid: EventNid) -> BackfillOutcome {
        history.fill_gap(self.room, gap_nid).await.unwrap_or_else(|error| {
            tracing::warn!(room = %self.room.id, "a gap of the timeline is not filled: {error}");
            BackfillOutcome::NotFound
        })
    }
}

impl Reading<'_> {
    /// Reads up to a page of events, as far as the next gap.
    async fn step(&mut self) -> Result<Step, DbError> {
        let TimelineReader { room, user, .. } = self.reader;
        let TimelineRange { after, upto, limit, direction } = self.range;
        let gap = room.view().gaps.first_open(after, upto, direction);
        let (first, last) = match (gap, direction) {
            (None, _) => (after, upto),
            (Some(gap), Direction::Backward) => (gap.lowest - 1, upto),
            (Some(gap), Direction::Forward) => (after, gap.floor()),
        };
        let read = timeline::range(room, first, last, limit, direction).await?;
        let is_exhausted = read.len() < limit;
        let next = next_page(direction, read.last().map(|event| event.position));
        let wanted = read.into_iter().filter(|event| self.reader.allows(event)).collect();
        for visible in timeline::visible(user, room, wanted).await? {
            if self.is_full() {
                return Ok(Step::Break(end_of(&self.events, direction)));
            }
            self.events.push(visible);
        }
        Ok(match (is_exhausted, gap) {
            (false, _) => match next {
                Some(next) if !self.is_full() => self.go_on_from(next),
                next => Step::Break(next),
            },
            (true, Some(gap)) => {
                let here = next.unwrap_or(self.start());
                let behind = match direction {
                    Direction::Backward => gap.floor(),
                    Direction::Forward => gap.lowest - 1,
                };
                self.fill(gap.gap_nid, here, behind).await
            }
            (true, None) => self.backfill(next).await,
        })
    }

    /// Fetches events into a gap. The page goes on from `here`, or `behind` the gap if nobody has its events: what is
    /// behind it is there all the same.
    async fn fill(&mut self, gap_nid: EventNid, here: Position, behind: Position) -> Step {
        let may_fill = !self.is_full() && self.fills < MAX_FILLS;
        let Some(history) = self.reader.history.filter(|_| may_fill) else { return Step::Break(Some(here)) };
        self.fills += 1;
        match self.reader.fill(history, gap_nid).await {
            BackfillOutcome::Added => self.go_on_from(here),
            // The client has waited long enough; it continues with its next request.
            BackfillOutcome::Pending => Step::Break(Some(here)),
            BackfillOutcome::NotFound if !self.events.is_empty() => Step::Break(Some(behind)),
            BackfillOutcome::NotFound => self.go_on_from(behind),
        }
    }

    /// Fetches the room's history before the first event that this server has.
    async fn backfill(&mut self, next: Option<Position>) -> Step {
        let TimelineRange { after, direction, .. } = self.range;
        let is_start = direction == Direction::Backward && after == Position::MIN;
        // Without history the room begins, or ends, here.
        let Some(history) = self.reader.history.filter(|_| is_start) else { return Step::Break(None) };
        match history.backfill(self.reader.room).await {
            Ok(BackfillOutcome::Added) => self.range.upto = next.unwrap_or(self.range.upto),
            // There is more: the client gets it with a later request.
            Ok(BackfillOutcome::Pending) => return Step::Break(Some(next.unwrap_or(self.start()))),
            Ok(BackfillOutcome::NotFound) => return Step::Break(None),
            Err(error) => {
                // That does not keep the client from what has been read.
                tracing::warn!(room = %self.reader.room.id, "cannot page back: {error}");
                return Step::Break(None);
            }
        }
        if self.is_full() { Step::Break(end_of(&self.events, direction)) } else { Step::Continue(()) }
    }

    fn is_full(&self) -> bool {
        self.events.len() == self.range.limit
    }

    /// Returns where reading goes on.
    fn start(&self) -> Position {
        match self.range.direction {
            Direction::Backward => self.range.upto,
            Direction::Forward => self.range.after,
        }
    }

    fn go_on_from(&mut self, position: Position) -> Step {
        match self.range.direction {
            Direction::Backward => self.range.upto = position,
            Direction::Forward => self.range.after = position,
        }
        Step::Continue(())
    }
}

fn end_of(events: &[VisibleEvent], direction: Direction) -> Option<Position> {
    next_page(direction, events.last().map(|visible| visible.event.position))
}

/// Returns where the page begins that follows an event.
fn next_page(direction: Direction, last: Option<Position>) -> Option<Position> {
    match direction {
        Direction::Backward => last.map(|position| position - 1),
        Direction::Forward => last,
    }
}
