//! The gaps of a timeline: places where events are missing.

use std::sync::Arc;

use plexus_store::repo::timeline_gaps::Gap;
use plexus_store::{EventNid, Position};

use crate::model::direction::Direction;

/// The maximum number of open gaps in a timeline. Every client that pages through the room meets each of them, and
/// other servers can open gaps at will by naming events that do not exist.
const MAX_OPEN_GAPS: usize = 100;

/// The gaps of a timeline, open and closed ones, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Gaps(Arc<[Gap]>);

impl Gaps {
    /// Creates the gaps of a timeline from a list, oldest first.
    pub fn new(gaps: Vec<Gap>) -> Self {
        Self(gaps.into())
    }

    /// Returns the gaps with a gap added or replaced.
    pub fn with(&self, gap: Gap) -> Self {
        let others = self.0.iter().filter(|other| other.gap_nid != gap.gap_nid).copied();
        let mut gaps: Vec<Gap> = others.chain([gap]).collect();
        gaps.sort_by_key(|gap| gap.top);
        Self::new(gaps)
    }

    /// Returns the gap with this number.
    pub fn get(&self, gap_nid: EventNid) -> Option<Gap> {
        self.0.iter().find(|gap| gap.gap_nid == gap_nid).copied()
    }

    /// Whether the gap with this number is open.
    pub(crate) fn is_open(&self, gap_nid: EventNid) -> bool {
        self.get(gap_nid).is_some_and(|gap| gap.is_open)
    }

    /// Whether no other gap may be opened.
    pub(crate) fn is_full(&self) -> bool {
        self.0.iter().filter(|gap| gap.is_open).count() >= MAX_OPEN_GAPS
    }

    /// Returns the newest open gap whose top is below `top`.
    pub fn newest_open(&self, top: Position) -> Option<Gap> {
        self.0.iter().rev().find(|gap| gap.is_open && gap.top < top).copied()
    }

    /// Returns the position of the first event after the newest gap; 0 if there is none. Later events are in the order
    /// in which they arrived.
    pub(crate) fn last_top(&self) -> Position {
        self.0.last().map_or(0, |gap| gap.top)
    }

    /// Returns the position of the first event after the newest gap between two positions.
    #[must_use]
    pub fn newest_between(&self, after: Position, upto: Position) -> Option<Position> {
        let gap = self.0.iter().rev().find(|gap| gap.top <= upto)?;
        (after < gap.top - 1).then_some(gap.top)
    }

    /// Returns the first open gap that a reader of the events with `after < position <= upto` meets.
    #[must_use]
    pub fn first_open(&self, after: Position, upto: Position, direction: Direction) -> Option<Gap> {
        let within = |gap: &&Gap| gap.is_open && after < gap.lowest - 1 && upto > gap.floor();
        match direction {
            Direction::Backward => self.0.iter().rev().find(within).copied(),
            Direction::Forward => self.0.iter().find(within).copied(),
        }
    }

    /// Whether an event at this position was backfilled into a gap.
    pub(crate) fn covers(&self, position: Position) -> bool {
        // The reserved positions of a gap are above those of the gap before.
        let above = self.0.partition_point(|gap| gap.top <= position);
        self.0.get(above).is_some_and(|gap| gap.covers(position))
    }
}

#[cfg(test)]
mod tests {
    use plexus_store::repo::timeline_gaps::RESERVED;

    use super::*;

    fn gap(top: Position, taken: Position, is_open: bool) -> Gap {
        Gap { gap_nid: top, depth: 1, top, lowest: top - taken, is_open }
    }

    #[test]
    fn a_reader_meets_the_nearest_gap_that_is_open() {
        let tops = [1, 2, 3].map(|number| number * (RESERVED + 100));
        let gaps = Gaps::new(vec![gap(tops[0], 0, true), gap(tops[1], 10, true), gap(tops[2], 20, false)]);
        let met = |after, upto, direction| gaps.first_open(after, upto, direction).map(|gap| gap.top);
        assert_eq!(met(0, Position::MAX, Direction::Backward), Some(tops[1]));
        assert_eq!(met(0, Position::MAX, Direction::Forward), Some(tops[0]));
        // The missing events are right before the backfilled ones.
        assert_eq!(met(tops[1] - 11, Position::MAX, Direction::Backward), None);
        assert_eq!(met(tops[1] - 12, Position::MAX, Direction::Backward), Some(tops[1]));
        let floor = tops[1] - RESERVED - 1;
        assert_eq!(met(tops[0], floor, Direction::Backward), None);
        assert_eq!(met(tops[0], floor + 1, Direction::Backward), Some(tops[1]));
    }

    #[test]
    fn open_gaps_have_a_bound() {
        let of = |open: usize, closed: usize| {
            let gaps = (0..open + closed).zip(1..).map(|(at, number)| gap(number * (RESERVED + 1), 0, at < open));
            Gaps::new(gaps.collect())
        };
        assert!(!of(MAX_OPEN_GAPS - 1, 50).is_full());
        assert!(of(MAX_OPEN_GAPS, 0).is_full());
        let gaps = of(3, 1);
        let tops = [1, 2, 3, 4].map(|number| number * (RESERVED + 1));
        assert!(tops.iter().all(|top| gaps.covers(top - 1) && gaps.covers(top - RESERVED) && !gaps.covers(*top)));
        assert!(!gaps.covers(0) && !gaps.covers(tops[3] + 1));
    }

    #[test]
    fn backfilled_events_differ_from_those_that_arrived() {
        let top = 5 * RESERVED;
        let gaps = Gaps::default().with(gap(top, 10, true)).with(gap(top, 20, false));
        assert_eq!(gaps.get(top).map(|gap| (gap.lowest, gap.is_open)), Some((top - 20, false)));
        assert_eq!(gaps.newest_open(Position::MAX), None);
        let covered: Vec<bool> =
            [top, top - 1, top - RESERVED, top - RESERVED - 1].map(|position| gaps.covers(position)).into();
        assert_eq!(covered, [false, true, true, false]);
        assert_eq!(gaps.newest_between(0, top - 1), None);
        assert_eq!(gaps.newest_between(0, top), Some(top));
        assert_eq!(gaps.newest_between(top - 1, top + 5), None);
    }
}
