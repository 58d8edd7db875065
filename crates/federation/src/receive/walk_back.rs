//! Fetches the events before given events, page by page, from another server
//! (<https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_rooms::write::outliers;
use plexus_store::DbError;

use super::{RemoteSource, lookup};
use crate::peers::MissingEventsRequest;

/// How many events `/get_missing_events` is asked for. Servers return no more than this.
const MISSING_EVENTS_LIMIT: u32 = 20;
/// How many events `/backfill` is asked for at a time.
const BACKFILL_LIMIT: u32 = 100;
/// How many events a request starts from.
const MAX_ENDS: usize = 20;
/// How many bytes of fetched events are held in memory.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// How many more fetched events must be kept to justify fetching one more state.
const EVENTS_WORTH_A_STATE: usize = 50;

/// How far back events are fetched.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The maximum number of events.
    pub events: usize,
    /// Only events of a greater depth are kept. Others belong to an older gap, or to the time before this server joined
    /// the room.
    pub min_depth: Option<u64>,
}

impl Bounds {
    fn allow(&self, pdu: &Pdu) -> bool {
        self.min_depth.is_none_or(|min_depth| pdu.depth() > min_depth)
    }
}

/// The fetched events.
#[derive(Default)]
pub(super) struct Fetched {
    /// In no particular order.
    pub events: Vec<Pdu>,
    /// The ids of events that were not kept because they are outside the bounds.
    pub older: HashSet<EventId>,
}

/// Fetches the events before `from` that are not in the graph, the newest first, until none is missing, a bound is
/// reached, or the server returns no more. It uses at most half of the time that is left.
pub(super) async fn walk_back(source: &RemoteSource<'_>, from: &[Pdu], bounds: Bounds) -> Result<Fetched, DbError> {
    let deadline = &source.deadline.half();
    let source = &RemoteSource { deadline, ..*source };
    let (db, room) = (&source.receiver.db, source.room);
    let mut fetched = Fetched::default();
    let mut all = from.to_vec();
    let mut known: HashSet<EventId> = all.iter().map(|pdu| pdu.event_id().clone()).collect();
    let mut unknown = lookup::unknown_prev_events(db, room.nid, &all).await?;
    let mut bytes = 0;
    // A few events are usually enough, and cheapest for the other server.
    let mut few = true;
    while fetched.events.len() < bounds.events && bytes < MAX_BYTES && deadline.is_left() {
        let names_unknown = |pdu: &&Pdu| pdu.prev_events().iter().any(|id| unknown.contains(id));
        let mut ends: Vec<&Pdu> = all.iter().filter(names_unknown).collect();
        ends.sort_by_key(|pdu| std::cmp::Reverse(pdu.depth()));
        let ends: Vec<EventId> = ends.iter().take(MAX_ENDS).map(|pdu| pdu.event_id().clone()).collect();
        if ends.is_empty() {
            break;
        }
        let mut page = page(source, &ends, few).await;
        page = connected(&all, lookup::without_place(db, room.nid, page).await?);
        page.retain(|pdu| !known.contains(pdu.event_id()) && !fetched.older.contains(pdu.event_id()));
        // Depths are chosen by senders and may be wrong. If only a few events are missing, they belong to no older gap.
        let is_all = few && {
            let found: HashSet<&EventId> = page.iter().map(Pdu::event_id).collect();
            let before_page = lookup::unknown_prev_events(db, room.nid, &page).await?;
            unknown.iter().all(|id| found.contains(id)) && before_page.iter().all(|id| known.contains(id))
        };
        let (new, older): (Vec<Pdu>, Vec<Pdu>) = page.into_iter().partition(|pdu| is_all || bounds.allow(pdu));
        if new.is_empty() && older.is_empty() {
            if !few {
                break;
            }
            few = false;
            continue;
        }
        few = false;
        bytes += new.iter().map(|pdu| pdu.json().len()).sum::<usize>();
        known.extend(new.iter().map(|pdu| pdu.event_id().clone()));
        fetched.older.extend(older.into_iter().map(|pdu| pdu.event_id().clone()));
        unknown.extend(lookup::unknown_prev_events(db, room.nid, &new).await?);
        unknown.retain(|id| !known.contains(id) && !fetched.older.contains(id));
        all.extend(new.iter().cloned());
        fetched.events.extend(new);
    }
    Ok(fetched)
}

/// Fetches events before `ends`: a `few` by `/get_missing_events`, or more by `/backfill`.
async fn page(source: &RemoteSource<'_>, ends: &[EventId], few: bool) -> Vec<Pdu> {
    let RemoteSource { receiver, room, server, .. } = *source;
    let asked = if few {
        let query = MissingEventsRequest {
            earliest: room.view().extremities().cloned().collect(),
            latest: ends.to_vec(),
            limit: MISSING_EVENTS_LIMIT,
            min_depth: 0,
        };
        receiver.peers.missing_events(server, &room.id, query)
    } else {
        receiver.peers.backfill(server, &room.id, ends, BACKFILL_LIMIT)
    };
    match source.ask(asked).await {
        Ok(raw) => {
            receiver.verifier.parse_and_verify(room, raw.into_iter().take(BACKFILL_LIMIT as usize).collect()).await
        }
        Err(error) => {
            tracing::info!(room = %room.id, "{server} does not return the events before an event: {error}");
            Vec::new()
        }
    }
}

/// Returns the events of `found` that are ancestors of `from`. Others were not requested.
fn connected(from: &[Pdu], found: Vec<Pdu>) -> Vec<Pdu> {
    let mut left: HashMap<EventId, Pdu> = found.into_iter().map(|pdu| (pdu.event_id().clone(), pdu)).collect();
    let mut kept = Vec::new();
    let mut open: Vec<EventId> = from.iter().flat_map(|pdu| pdu.prev_events().to_vec()).collect();
    while let Some(id) = open.pop() {
        if let Some(pdu) = left.remove(&id) {
            open.extend(pdu.prev_events().iter().cloned());
            kept.push(pdu);
        }
    }
    kept
}

/// Chooses which fetched events to keep: the state before each kept event whose prev events are missing has to be
/// requested.
pub(super) struct Cut<'a> {
    /// The events before which events were fetched.
    pub from: &'a [Pdu],
    /// Whether `from` are in the graph. Otherwise they need a state too, and it may be best to keep nothing.
    pub is_placed: bool,
    /// The events that are missing in spite of the fetched ones.
    pub missing: &'a HashSet<EventId>,
    /// The fetched events that are in the graph: the state before them is known.
    pub judged: &'a HashSet<EventId>,
    /// How many states may be requested at once where fewer would discard many events: a room in which many users send
    /// at the same time has many branches everywhere.
    pub max_states: usize,
}

/// A cut that keeps some of the newest events.
#[derive(Clone, Copy)]
struct Kept {
    events: usize,
    /// How many states have to be requested.
    states: usize,
}

impl Kept {
    /// Compares by events per state, then by fewer states.
    fn cmp_yield(&self, other: &Self) -> Ordering {
        let by_state = (self.events * other.states).cmp(&(other.events * self.states));
        by_state.then(other.states.cmp(&self.states))
    }
}

impl Cut<'_> {
    /// Returns the newest of the fetched events, prev events first, down to where few of them have missing prev events.
    /// Returns all of them if nothing is missing.
    pub(crate) fn newest(&self, fetched: Vec<Pdu>) -> Vec<Pdu> {
        let mut newest_first = outliers::prev_events_first(fetched);
        newest_first.reverse();
        newest_first.sort_by_key(|pdu| std::cmp::Reverse(pdu.depth()));
        newest_first.truncate(self.best(&self.cuts(&newest_first)));
        outliers::prev_events_first(newest_first)
    }

    /// Returns what each possible cut keeps.
    fn cuts(&self, newest_first: &[Pdu]) -> Vec<Kept> {
        let fetched_ids: HashSet<&EventId> = newest_first.iter().map(Pdu::event_id).collect();
        // Kept events to the number of their prev events that are not kept.
        let mut lacking: HashMap<&EventId, usize> = HashMap::new();
        let mut children: HashMap<&EventId, Vec<&EventId>> = HashMap::new();
        let mut kept: HashSet<&EventId> = HashSet::new();
        let mut states = 0_usize;
        let mut cuts = Vec::with_capacity(newest_first.len());
        let before = self.from.iter().filter(|_| !self.is_placed);
        let without_fetched = before.clone().count();
        for (at, pdu) in before.chain(newest_first).enumerate() {
            let outside =
                |id: &&EventId| self.missing.contains(*id) || (fetched_ids.contains(*id) && !kept.contains(*id));
            let prev_events: HashSet<&EventId> = pdu.prev_events().iter().filter(outside).collect();
            kept.insert(pdu.event_id());
            if !prev_events.is_empty() && !self.judged.contains(pdu.event_id()) {
                states += 1;
                lacking.insert(pdu.event_id(), prev_events.len());
                prev_events.into_iter().for_each(|id| children.entry(id).or_default().push(pdu.event_id()));
            }
            for child in children.remove(pdu.event_id()).unwrap_or_default() {
                if let Some(count) = lacking.get_mut(child) {
                    *count -= 1;
                    states -= usize::from(*count == 0);
                }
            }
            cuts.extend((at + 1).checked_sub(without_fetched).map(|events| Kept { events, states }));
        }
        cuts
    }

    /// Returns how many events the best cut keeps.
    fn best(&self, cuts: &[Kept]) -> usize {
        let fewest = cuts.iter().map(|kept| kept.states).min().unwrap_or(0);
        let most = fewest.max(self.max_states);
        let worth = |kept: &&Kept| kept.events + (most - kept.states) * EVENTS_WORTH_A_STATE;
        let Some(best) = cuts.iter().filter(|kept| kept.states <= most).max_by_key(worth) else { return 0 };
        // Where branches never meet, a cut with few states keeps few events. Then the states are requested in several
        // rounds: events that have been judged stay in the graph.
        let is_poor = best.events < best.states * EVENTS_WORTH_A_STATE;
        let best = if self.is_placed && is_poor { cuts.iter().max_by(|a, b| a.cmp_yield(b)) } else { Some(best) };
        best.map_or(0, |kept| kept.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plexus_protocol::rules::RoomVersion;

    /// Returns an event of room version 2, in which ids are free.
    fn event(id: &str, depth: u64, prev_events: &[&str]) -> Pdu {
        let reference = |id: &&str| format!(r#"["${id}:x",{{}}]"#);
        let prev_events: Vec<String> = prev_events.iter().map(reference).collect();
        let json = format!(
            r#"{{"auth_events":[],"content":{{}},"depth":{depth},"event_id":"${id}:x","hashes":{{"sha256":""}},{}"#,
            format_args!(
                r#""origin_server_ts":1,"prev_events":[{}],"room_id":"!r:x","sender":"@u:x","signatures":{{}},{}"#,
                prev_events.join(","),
                r#""type":"m.room.message"}"#
            )
        );
        let id = EventId::try_from(format!("${id}:x").as_str()).unwrap();
        Pdu::from_stored(&json, id, RoomVersion::V2).unwrap()
    }

    fn ids(pdus: &[Pdu]) -> Vec<&str> {
        pdus.iter().map(|pdu| pdu.event_id().as_str().split([':', '$']).nth(1).unwrap_or_default()).collect()
    }

    fn missing(ids: &[&str]) -> HashSet<EventId> {
        ids.iter().map(|id| EventId::try_from(format!("${id}:x").as_str()).unwrap()).collect()
    }

    fn newest(
        (from, is_placed): (&[Pdu], bool),
        fetched: Vec<Pdu>,
        missing: &HashSet<EventId>,
        max_states: usize,
    ) -> Vec<Pdu> {
        Cut { from, is_placed, missing, judged: &HashSet::new(), max_states }.newest(fetched)
    }

    #[test]
    fn cuts_are_compared_by_events_per_state_and_then_by_fewer_states() {
        let kept = |events, states| Kept { events, states };
        assert_eq!(kept(9, 3).cmp_yield(&kept(5, 2)), Ordering::Greater);
        assert_eq!(kept(5, 2).cmp_yield(&kept(9, 3)), Ordering::Less);
        assert_eq!(kept(4, 2).cmp_yield(&kept(2, 1)), Ordering::Less);
        assert_eq!(kept(4, 2).cmp_yield(&kept(4, 2)), Ordering::Equal);
    }

    #[test]
    fn everything_is_kept_when_nothing_is_missing_or_one_state_is() {
        let fetched = vec![event("a", 1, &["old"]), event("b", 2, &["a"]), event("c", 3, &["b"])];
        let last = [event("d", 4, &["c"])];
        assert_eq!(ids(&newest((&last, false), fetched.clone(), &missing(&[]), 4)), ["a", "b", "c"]);
        assert_eq!(ids(&newest((&last, false), fetched.clone(), &missing(&["old"]), 4)), ["a", "b", "c"]);
        assert_eq!(ids(&newest((&last, true), fetched, &missing(&["old"]), 4)), ["a", "b", "c"]);
    }

    #[test]
    fn branches_are_left_behind_where_they_meet() {
        // Ten branches, none of which reaches what is known, meet in one event.
        let branches: Vec<String> = (0..10).map(|number| format!("branch{number}")).collect();
        let mut fetched: Vec<Pdu> = branches.iter().map(|id| event(id, 1, &["old"])).collect();
        let all: Vec<&str> = branches.iter().map(String::as_str).collect();
        fetched.push(event("meeting", 2, &all));
        fetched.push(event("later", 3, &["meeting"]));
        let last = [event("last", 4, &["later"])];
        assert_eq!(ids(&newest((&last, false), fetched.clone(), &missing(&["old"]), 4)), ["meeting", "later"]);
        assert_eq!(ids(&newest((&last, true), fetched, &missing(&["old"]), 4)), ["meeting", "later"]);
    }

    #[test]
    fn branches_that_never_meet_are_kept_where_as_many_states_may_be_asked_for() {
        // Five branches side by side, tied together by the last event alone.
        let id = |branch: usize, at: usize| format!("e{branch}x{at}");
        let mut fetched = Vec::new();
        for at in 1..100 {
            for branch in 0..5 {
                let before: Vec<String> = (0..5).map(|other| id(other, at - 1)).collect();
                let before: Vec<&str> = before.iter().map(String::as_str).collect();
                fetched.push(event(&id(branch, at), at as u64, &before));
            }
        }
        let ends: Vec<String> = (0..5).map(|branch| id(branch, 99)).collect();
        let last = [event("last", 100, &ends.iter().map(String::as_str).collect::<Vec<_>>())];
        let oldest: Vec<String> = (0..5).map(|branch| id(branch, 0)).collect();
        let oldest = missing(&oldest.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(newest((&last, false), fetched.clone(), &oldest, 5).len(), fetched.len());
        assert_eq!(newest((&last, false), fetched.clone(), &oldest, 4).len(), 0);
        // Into a gap they are fetched in several goes.
        assert_eq!(newest((&last, true), fetched.clone(), &oldest, 4).len(), fetched.len());
        let judged = missing(&["e0x1", "e1x1", "e2x1"]);
        let cut = Cut { from: &last, is_placed: false, missing: &oldest, judged: &judged, max_states: 2 };
        assert_eq!(cut.newest(fetched.clone()).len(), fetched.len());
    }

    #[test]
    fn something_is_kept_however_many_states_it_needs() {
        let fetched: Vec<Pdu> = (0..15).map(|number| event(&format!("e{number}"), 1, &["old"])).collect();
        let prev_events: Vec<String> = (0..15).map(|number| format!("e{number}")).collect();
        let prev_events: Vec<&str> = prev_events.iter().map(String::as_str).collect();
        let last = [event("last", 2, &prev_events)];
        assert_eq!(newest((&last, false), fetched.clone(), &missing(&["old"]), 4).len(), 0);
        assert_eq!(newest((&last, true), fetched, &missing(&["old"]), 4).len(), 1);
    }
}
