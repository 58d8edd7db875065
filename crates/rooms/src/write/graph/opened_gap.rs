//! The gap that is opened while events are added to a graph.

use plexus_store::repo::timeline_gaps::START;
use plexus_store::{EventNid, Position};

use super::candidate::GapRef;
use crate::model::room_view::RoomView;
use crate::write::pending::MissingPrevEvents;

/// The gap that is opened while events are added. All of them share it.
#[derive(Default)]
pub(super) struct OpenedGap {
    /// Its number, once an event of the timeline has been added after it.
    gap_nid: Option<EventNid>,
    /// Earlier events whose prev events are missing.
    extremities: Vec<EventNid>,
}

impl OpenedGap {
    /// Returns the missing prev events to note with an event. `gap` is the gap that its prev events are missing from;
    /// `depth` is the depth of a gap that the event would open.
    pub(super) fn missing(
        &mut self,
        view: &RoomView,
        event: EventNid,
        depth: u64,
        gap: Option<GapRef>,
        in_timeline: bool,
    ) -> Option<MissingPrevEvents> {
        let known = |gap_nid| Some(MissingPrevEvents { gap_nid, opens_gap: None, extremities: vec![event] });
        match gap {
            Some(GapRef::Known(gap_nid)) if gap_nid == START || view.gaps.is_open(gap_nid) => return known(gap_nid),
            Some(_) if self.gap_nid.is_none() && view.gaps.is_full() => {
                return known(view.gaps.newest_open(Position::MAX).map_or(START, |gap| gap.gap_nid));
            }
            // The known gap has been closed meanwhile: the missing events need a new one.
            Some(_) => self.extremities.push(event),
            None => {}
        }
        if self.extremities.is_empty() || (self.gap_nid.is_none() && !in_timeline) {
            return None;
        }
        let opens_gap = self.gap_nid.is_none().then_some(depth);
        let gap_nid = *self.gap_nid.get_or_insert(event);
        Some(MissingPrevEvents { gap_nid, opens_gap, extremities: std::mem::take(&mut self.extremities) })
    }
}
