use super::*;

/// On the monotonic clock.
const NOW: Duration = Duration::ZERO;

#[derive(Debug, Default)]
struct TestExtras {
    /// There are rows in a queue.
    queued: bool,
    /// They are not delivered for now.
    held: bool,
    ephemeral: Vec<u32>,
}

impl Extras for TestExtras {
    fn is_due(&self) -> bool {
        (self.queued && !self.held) || !self.ephemeral.is_empty()
    }

    fn is_durable(&self) -> bool {
        self.queued
    }

    fn take(&mut self) -> Self {
        let queued = !self.held && std::mem::take(&mut self.queued);
        Self { queued, held: false, ephemeral: std::mem::take(&mut self.ephemeral) }
    }

    fn put_back(&mut self, taken: Self) {
        self.queued |= taken.queued;
        self.held |= taken.held;
        self.ephemeral.splice(..0, taken.ephemeral);
    }

    fn drop_ephemeral(&mut self) {
        self.ephemeral.clear();
    }

    fn came_back(&mut self) {
        self.held = false;
    }
}

type TestDestinations = Destinations<&'static str, TestExtras>;

fn empty(position: Position) -> TestDestinations {
    with(Cursors { position, behind: Vec::new(), extras: Vec::new() })
}

fn with(cursors: Cursors<&'static str, TestExtras>) -> TestDestinations {
    Destinations::new(cursors, false, Arc::default())
}

fn nothing() -> TestExtras {
    TestExtras::default()
}

fn queue(destinations: &mut TestDestinations, key: &'static str) {
    destinations.add_extras(key, |extras| extras.queued = true);
}

fn ephemeral(destinations: &mut TestDestinations, key: &'static str, number: u32) {
    destinations.add_ephemeral(key, |extras| extras.ephemeral.push(number));
}

fn progress(position: Position) -> Progress<&'static str> {
    Progress { position, behind: Vec::new(), caught_up: Vec::new() }
}

fn due(key: &'static str) -> CameBack<&'static str> {
    CameBack { key, is_up: false }
}

#[test]
fn one_that_is_up_to_date_costs_nothing() {
    let mut destinations = empty(5);
    destinations.add_log_entry("a", 5, 6);
    destinations.distributed = 6;
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    assert_eq!((turn.cursor, turn.upto), (5, 6));
    // Under way: after a restart position 6 must be read again.
    assert_eq!(destinations.progress(), None);
    destinations.delivered(&turn.key, 6, nothing());
    assert!(destinations.destinations.is_empty() && destinations.next(DeliveryClass::Fast, NOW).is_none());
    assert_eq!(destinations.progress(), Some(progress(6)));
    assert_eq!(destinations.progress(), None);
}

#[test]
fn one_that_fails_gets_a_cursor_and_delays_no_other() {
    let mut destinations = empty(0);
    destinations.add_log_entry("a", 0, 1);
    destinations.add_log_entry("b", 0, 1);
    destinations.distributed = 1;
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    let other = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    let a = turn.key;
    destinations.failed(turn, Retry::Later, NOW);
    destinations.delivered(&other.key, 1, nothing());
    assert_eq!(destinations.progress(), Some(Progress { behind: vec![(a, 0)], ..progress(1) }));
    assert_eq!(destinations.delivered_to_all(), 0);
    destinations.add_log_entry(a, 1, 2);
    destinations.distributed = 2;
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_none());
    destinations.came_back(&due(a));
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_none());
    let turn = destinations.next(DeliveryClass::Slow, NOW).unwrap();
    assert_eq!((turn.cursor, turn.upto, turn.failures), (0, 2, 1));
    destinations.delivered(&a, 2, nothing());
    assert_eq!(destinations.progress(), Some(Progress { caught_up: vec![a], ..progress(2) }));
}

#[test]
fn what_a_turn_has_reached_counts_however_it_ends() {
    let mut destinations = empty(0);
    destinations.add_log_entry("a", 0, 1);
    destinations.add_log_entry("a", 1, 5);
    destinations.distributed = 5;
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    turn.reached(3);
    assert_eq!(destinations.progress(), Some(progress(3)));
    destinations.gave_way(turn);
    let turn = destinations.next(DeliveryClass::Slow, NOW).unwrap();
    assert_eq!(turn.cursor, 3);
    turn.reached(4);
    destinations.failed(turn, Retry::Later, NOW);
    assert_eq!(destinations.progress(), Some(Progress { behind: vec![("a", 4)], ..progress(5) }));
}

#[test]
fn a_slow_one_gets_a_cursor_where_repetitions_matter() {
    let cursors = Cursors { position: 0, behind: Vec::new(), extras: Vec::new() };
    let mut destinations: TestDestinations = Destinations::new(cursors, true, Arc::default());
    destinations.add_log_entry("slow", 0, 1);
    destinations.add_log_entry("other", 0, 2);
    destinations.distributed = 2;
    let slow = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    let other = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.delivered(&other.key, 2, nothing());
    assert_eq!(destinations.progress(), None);
    assert_eq!(destinations.progress(), Some(Progress { behind: vec![("slow", 0)], ..progress(2) }));
    destinations.delivered(&slow.key, 2, nothing());
    assert_eq!(destinations.progress(), Some(Progress { caught_up: vec!["slow"], ..progress(2) }));
}

#[test]
fn an_entry_for_5000_destinations_stores_no_cursors() {
    let mut destinations: Destinations<u32, TestExtras> =
        Destinations::new(Cursors { position: 0, behind: Vec::new(), extras: Vec::new() }, false, Arc::default());
    for key in 0..5_000 {
        destinations.add_log_entry(key, 0, 1);
    }
    destinations.distributed = 1;
    assert_eq!(destinations.progress(), None);
    while let Some(turn) = destinations.next(DeliveryClass::Fast, NOW) {
        destinations.delivered(&turn.key, 1, nothing());
    }
    assert!(destinations.destinations.is_empty());
    assert_eq!(destinations.progress(), Some(Progress { position: 1, behind: Vec::new(), caught_up: Vec::new() }));
}

#[test]
fn one_that_comes_back_while_it_fails_is_tried_again() {
    let mut destinations = empty(0);
    destinations.add_log_entry("a", 0, 1);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.came_back(&due("a"));
    assert!(destinations.failed(turn, Retry::Later, NOW));
    assert!(destinations.next(DeliveryClass::Slow, NOW).is_some());
}

#[test]
fn nothing_is_dropped_while_one_is_about_to_be_tried_again() {
    let mut destinations = empty(0);
    ephemeral(&mut destinations, "a", 1);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.failed(turn, Retry::Soon, NOW);
    ephemeral(&mut destinations, "a", 2);
    destinations.came_back(&due("a"));
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_none());
    let turn = destinations.next(DeliveryClass::Slow, NOW).unwrap();
    assert!(turn.extras.ephemeral == [1, 2] && !turn.was_away);
    assert_eq!(destinations.progress(), None);
    // What may be lost is not kept once it is left alone.
    destinations.failed(turn, Retry::Later, NOW);
    assert!(destinations.destinations.is_empty());
}

#[test]
fn one_that_is_up_does_not_wait_for_a_slow_slot() {
    let up = |key| CameBack { key, is_up: true };
    let mut destinations = empty(0);
    destinations.add_log_entry("a", 0, 1);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.failed(turn, Retry::Soon, NOW);
    destinations.came_back(&up("a"));
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    // Also when it comes back while it fails, or while it waits for a slow slot.
    destinations.came_back(&up("a"));
    destinations.failed(turn, Retry::Later, NOW);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.failed(turn, Retry::Later, NOW);
    destinations.came_back(&due("a"));
    destinations.came_back(&up("a"));
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_some());
    assert!(destinations.next(DeliveryClass::Slow, NOW).is_none());
}

#[test]
fn a_cursor_of_the_last_run_is_where_it_continues() {
    let behind = |key, cursor, away| Behind { key, cursor, stored: Some(cursor), away };
    let mut destinations = with(Cursors {
        position: 9,
        behind: vec![behind("a", 3, false), behind("c", 2, true)],
        extras: vec![("b", TestExtras { queued: true, ..nothing() })],
    });
    let first = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    let second = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    assert_eq!((first.key, first.cursor, first.upto), ("a", 3, 9));
    assert!(second.key == "b" && second.extras.queued);
    let failed = destinations.next(DeliveryClass::Slow, NOW).unwrap();
    assert!(failed.key == "c" && failed.was_away && !first.was_away);
}

#[test]
fn one_that_takes_long_gives_way_and_loses_nothing() {
    let mut destinations = empty(0);
    ephemeral(&mut destinations, "a", 1);
    queue(&mut destinations, "a");
    destinations.add_log_entry("b", 0, 1);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    assert!(destinations.has_fast_ready());
    destinations.gave_way(turn);
    assert_eq!(destinations.next(DeliveryClass::Fast, NOW).unwrap().key, "b");
    assert!(!destinations.has_fast_ready());
    let turn = destinations.next(DeliveryClass::Slow, NOW).unwrap();
    assert!(turn.key == "a" && turn.extras.queued && turn.extras.ephemeral == [1] && !turn.was_away);
    // It succeeds in the end, and is as good as any other.
    queue(&mut destinations, "a");
    destinations.delivered(&turn.key, 0, nothing());
    assert_eq!(destinations.next(DeliveryClass::Fast, NOW).unwrap().key, "a");
}

#[test]
fn extras_that_are_held_back_delay_nothing_else() {
    let mut destinations = empty(0);
    queue(&mut destinations, "a");
    destinations.add_log_entry("a", 0, 1);
    destinations.distributed = 1;
    let mut turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    turn.extras.held = true;
    destinations.repeat(turn);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    assert!(!turn.extras.queued && turn.upto == 1);
    destinations.delivered(&turn.key, 1, nothing());
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_none());
    destinations.add_log_entry("a", 1, 2);
    destinations.distributed = 2;
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    assert!(!turn.extras.queued && turn.cursor == 1);
    destinations.delivered(&turn.key, 2, nothing());
    queue(&mut destinations, "a");
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_none());
    destinations.came_back(&due("a"));
    assert!(destinations.next(DeliveryClass::Fast, NOW).unwrap().extras.queued);
    destinations.delivered(&"a", 2, nothing());
    assert!(destinations.destinations.is_empty());
}

#[test]
fn at_the_end_only_those_that_are_behind_get_a_cursor() {
    let mut destinations = empty(0);
    destinations.add_log_entry("a", 0, 1);
    destinations.add_log_entry("b", 0, 1);
    queue(&mut destinations, "c");
    destinations.distributed = 1;
    let a = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    let b = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.delivered(&b.key, 1, nothing());
    assert_eq!(destinations.progress(), None);
    destinations.close();
    assert_eq!(destinations.progress(), Some(Progress { behind: vec![(a.key, 0)], ..progress(1) }));
}

#[test]
fn a_cursor_that_the_database_does_not_have_is_stored() {
    let behind = vec![Behind { key: "a", cursor: 4, stored: None, away: false }];
    let mut destinations = with(Cursors { position: 5, behind, extras: Vec::new() });
    destinations.set_distributed(9);
    assert_eq!(destinations.progress(), Some(Progress { behind: vec![("a", 4)], ..progress(9) }));
}

#[test]
fn one_that_is_ahead_of_the_outbox_gets_nothing_again() {
    let behind = vec![Behind { key: "a", cursor: 7, stored: None, away: false }];
    let mut destinations = with(Cursors { position: 5, behind, extras: Vec::new() });
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.delivered(&turn.key, 5, nothing());
    destinations.add_log_entry("a", 5, 6);
    destinations.set_distributed(6);
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_none());
    destinations.add_log_entry("a", 6, 7);
    destinations.set_distributed(7);
    assert!(destinations.destinations.is_empty());

    destinations.add_log_entry("a", 7, 8);
    destinations.set_distributed(8);
    assert_eq!(destinations.next(DeliveryClass::Fast, NOW).unwrap().cursor, 7);
}

#[test]
fn one_that_fails_with_nothing_durable_is_left_alone_longer_each_time() {
    let after = Retry::After(Duration::from_secs(1));
    let mut destinations = empty(0);
    ephemeral(&mut destinations, "a", 1);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    assert!(!destinations.failed(turn, after, NOW));
    ephemeral(&mut destinations, "a", 2);
    assert!(destinations.next(DeliveryClass::Fast, NOW).is_none());
    destinations.came_back(&due("a"));
    // There is nothing to try it with; its failures are remembered.
    assert!(destinations.next(DeliveryClass::Slow, NOW).is_none());
    ephemeral(&mut destinations, "a", 3);
    let turn = destinations.next(DeliveryClass::Slow, NOW).unwrap();
    assert!(turn.failures == 1 && turn.extras.ephemeral == [3] && !turn.was_away);
    destinations.failed(turn, after, NOW);
    destinations.set_distributed(7);
    // It holds nothing back that others have.
    assert_eq!(destinations.progress(), Some(progress(7)));
    destinations.came_back(&due("a"));
    assert_eq!(destinations.delivered_to_all(), 7);
    destinations.add_log_entry("a", 7, 8);
    let turn = destinations.next(DeliveryClass::Slow, NOW).unwrap();
    assert_eq!((turn.failures, turn.cursor), (2, 7));
    destinations.delivered(&turn.key, 8, nothing());
    destinations.set_distributed(8);
    assert!(destinations.destinations.is_empty());

    ephemeral(&mut destinations, "b", 1);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.failed(turn, after, NOW);
    destinations.forget_idle();
    destinations.came_back(&due("b"));
    assert_eq!(destinations.destinations.len(), 1);
    destinations.came_back(&CameBack { key: "b", is_up: true });
    assert!(destinations.destinations.is_empty());

    ephemeral(&mut destinations, "c", 1);
    let turn = destinations.next(DeliveryClass::Fast, NOW).unwrap();
    destinations.failed(turn, after, NOW);
    destinations.came_back(&due("c"));
    destinations.forget_idle();
    assert!(destinations.destinations.is_empty());
}
