//! The outbox over a kind of destination in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use plexus_base::Clock;

use super::*;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(8);
const SLOTS: SlotLimits = SlotLimits { fast: 2, slow: 1 };

/// Mailboxes that keep the numbers of the entries they got, their log, and their cursors in a database.
struct Mailboxes {
    clock: Clock,
    /// The recipients of the entries at positions 1, 2, ...
    log: Mutex<Vec<Vec<&'static str>>>,
    /// Those that cannot be reached.
    unreachable: Mutex<BTreeSet<&'static str>>,
    /// Those to which the next delivery panics.
    panics: Mutex<BTreeSet<&'static str>>,
    /// The next delivery with this entry panics when it gets there.
    panics_at: Mutex<Option<Position>>,
    received: Mutex<BTreeMap<&'static str, Vec<Position>>>,
    /// When each was tried and failed, on the monotonic clock.
    failures: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
    position: Mutex<Position>,
    cursors: Mutex<BTreeMap<&'static str, Position>>,
    /// Deliveries wait while this is set.
    blocked: AtomicBool,
    under_way: AtomicUsize,
    max_under_way: AtomicUsize,
    unblocked: Notify,
}

#[derive(Clone)]
struct Number(Position);

impl Content for Number {
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl Recipients<&'static str> for Vec<&'static str> {
    fn contains(&self, key: &&'static str) -> bool {
        self.as_slice().contains(key)
    }

    fn keys(&self) -> Vec<&'static str> {
        self.clone()
    }
}

impl Mailboxes {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::manual(1_000),
            log: Mutex::default(),
            unreachable: Mutex::default(),
            panics: Mutex::default(),
            panics_at: Mutex::default(),
            received: Mutex::default(),
            failures: Mutex::default(),
            position: Mutex::default(),
            cursors: Mutex::default(),
            blocked: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            max_under_way: AtomicUsize::new(0),
            unblocked: Notify::new(),
        })
    }

    fn received(&self, key: &str) -> Vec<Position> {
        self.received.lock().get(key).cloned().unwrap_or_default()
    }

    fn failures(&self, key: &str) -> Vec<Duration> {
        self.failures.lock().get(key).cloned().unwrap_or_default()
    }

    fn cursors(&self) -> Vec<(&'static str, Position)> {
        self.cursors.lock().iter().map(|(key, cursor)| (*key, *cursor)).collect()
    }

    /// Lets tasks run until something is so.
    async fn wait_until(&self, is_so: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if is_so() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("it does not become so: {:?} {:?}", self.received.lock(), self.cursors());
    }

    /// Lets time pass, in small steps, until something is so.
    async fn pass_until(&self, is_so: impl Fn() -> bool) {
        for _ in 0..1_000 {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            if is_so() {
                return;
            }
            self.clock.advance(Duration::from_millis(100));
        }
        panic!("it does not become so: {:?} {:?}", self.received.lock(), self.cursors());
    }
}

impl DestinationKind for Arc<Mailboxes> {
    type Key = &'static str;
    type Content = Number;
    type Recipients = Vec<&'static str>;
    type Extras = ();

    const MAX_DUE: usize = 10;
    const DESTINATIONS: &'static str = "mailboxes";

    async fn load_cursors(&self) -> Result<Cursors<&'static str, ()>, DbError> {
        let behind =
            self.cursors().into_iter().map(|(key, cursor)| Behind { key, cursor, stored: Some(cursor), away: true });
        Ok(Cursors { position: *self.position.lock(), behind: behind.collect(), extras: Vec::new() })
    }

    async fn store_progress(&self, progress: Arc<Progress<&'static str>>) -> Result<(), DbError> {
        *self.position.lock() = progress.position;
        let mut cursors = self.cursors.lock();
        cursors.extend(progress.behind.iter().copied());
        progress.caught_up.iter().for_each(|key| _ = cursors.remove(key));
        Ok(())
    }

    fn committed(&self) -> Position {
        self.log.lock().len() as Position
    }

    async fn read_log(&self, after: Position, upto: Position) -> Result<LogChunk<Number, Vec<&'static str>>, DbError> {
        tokio::task::yield_now().await;
        let log = self.log.lock();
        let entry = |position: Position| LogEntry {
            position,
            content: Number(position),
            recipients: log[position as usize - 1].clone(),
        };
        Ok(LogChunk { entries: (after + 1..=upto).map(entry).collect(), upto })
    }

    async fn catch_up(&self, key: &&'static str, after: Position, upto: Position) -> Result<Due<Number>, DbError> {
        let log = self.log.lock();
        let due = (after + 1..=upto).filter(|position| log[*position as usize - 1].contains(key));
        Ok(Due { entries: due.map(|position| (position, Number(position))).collect(), upto })
    }

    async fn deliver(&self, turn: &Turn<&'static str, ()>, due: Due<Number>) -> Outcome<()> {
        assert!(!self.panics.lock().remove(turn.key), "a delivery that panics");
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.max_under_way.fetch_max(under_way, Ordering::SeqCst);
        while self.blocked.load(Ordering::SeqCst) {
            self.unblocked.notified().await;
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.unreachable.lock().contains(turn.key) {
            self.failures.lock().entry(turn.key).or_default().push(self.clock.monotonic());
            return Outcome::Failed {
                error: "unreachable".into(),
                retry: Retry::backoff(turn.failures, FIRST_RETRY, MAX_RETRY),
            };
        }
        for (position, Number(number)) in due.entries {
            let panics = self.panics_at.lock().take_if(|at| *at == position).is_some();
            assert!(!panics, "a delivery that panics in its midst");
            self.received.lock().entry(turn.key).or_default().push(number);
            turn.reached(position);
        }
        Outcome::Delivered { cursor: due.upto, remaining: () }
    }

    fn failed(&self, _key: &&'static str, error: Box<dyn Error + Send + Sync>) -> Outcome<()> {
        Outcome::Failed { error, retry: Retry::After(FIRST_RETRY) }
    }
}

/// An outbox that runs.
struct Running {
    mailboxes: Arc<Mailboxes>,
    outbox: Arc<Outbox<Arc<Mailboxes>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(mailboxes: &Arc<Mailboxes>) -> Self {
        let outbox = Outbox::start(Arc::clone(mailboxes), mailboxes.clock.clone(), SLOTS).await.expect("started");
        outbox.distribute().await.expect("distributed");
        let task = tokio::spawn(Arc::clone(&outbox).run());
        Self { mailboxes: Arc::clone(mailboxes), outbox, task }
    }

    async fn add(&self, recipients: &[&'static str]) {
        self.mailboxes.log.lock().push(recipients.to_vec());
        self.outbox.distribute().await.expect("distributed");
    }

    async fn stop(self) {
        self.outbox.stop().await;
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
        self.outbox.close().await;
    }
}

#[tokio::test]
async fn one_that_fails_delays_no_other_and_catches_up() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.unreachable.lock().insert("b");
    for _ in 0..3 {
        running.add(&["a", "b"]).await;
    }
    running.add(&["b"]).await;
    mailboxes.pass_until(|| mailboxes.received("a") == [1, 2, 3] && *mailboxes.position.lock() == 4).await;
    assert_eq!((mailboxes.received("b"), mailboxes.cursors()), (vec![], vec![("b", 0)]));
    mailboxes.unreachable.lock().clear();
    mailboxes.pass_until(|| mailboxes.received("b") == [1, 2, 3, 4] && mailboxes.cursors().is_empty()).await;
    assert_eq!(mailboxes.received("a"), [1, 2, 3]);
}

#[tokio::test]
async fn a_delivery_that_panics_is_repeated() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.panics.lock().insert("a");
    running.add(&["a"]).await;
    mailboxes.pass_until(|| mailboxes.cursors() == [("a", 0)]).await;
    running.add(&["a"]).await;
    mailboxes.clock.advance(RETRY_AFTER_PANIC);
    mailboxes.pass_until(|| mailboxes.received("a") == [1, 2] && mailboxes.cursors().is_empty()).await;
}

#[tokio::test]
async fn what_was_delivered_before_a_panic_is_not_repeated() {
    let mailboxes = Mailboxes::new();
    mailboxes.log.lock().extend([vec!["a"], vec!["a"], vec!["a"]]);
    *mailboxes.panics_at.lock() = Some(3);
    let _running = Running::start(&mailboxes).await;
    mailboxes.pass_until(|| mailboxes.cursors() == [("a", 2)]).await;
    mailboxes.clock.advance(RETRY_AFTER_PANIC);
    mailboxes.pass_until(|| mailboxes.cursors().is_empty()).await;
    assert_eq!(mailboxes.received("a"), [1, 2, 3]);
}

#[tokio::test]
async fn the_time_between_attempts_grows() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.unreachable.lock().insert("a");
    running.add(&["a"]).await;
    mailboxes.pass_until(|| mailboxes.failures("a").len() == 6).await;
    let failures = mailboxes.failures("a");
    let pauses: Vec<u64> = failures.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 8]);
}

#[tokio::test]
async fn one_that_has_changed_is_tried_at_once_and_its_old_pause_ends() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.unreachable.lock().insert("a");
    running.add(&["a"]).await;
    mailboxes.pass_until(|| mailboxes.failures("a").len() == 4 && !mailboxes.cursors().is_empty()).await;
    // The pause that has begun takes eight seconds.
    mailboxes.clock.advance(Duration::from_millis(7_500));
    running.outbox.renew(&["a"]);
    mailboxes.wait_until(|| mailboxes.failures("a").len() == 5).await;
    mailboxes.pass_until(|| mailboxes.failures("a").len() == 6).await;
    let failures = mailboxes.failures("a");
    assert_eq!(failures[5] - failures[4], FIRST_RETRY);
    mailboxes.unreachable.lock().clear();
    running.outbox.renew(&["a"]);
    mailboxes.wait_until(|| mailboxes.received("a") == [1]).await;
    mailboxes.pass_until(|| mailboxes.cursors().is_empty()).await;
}

#[tokio::test]
async fn the_cursor_of_one_that_has_changed_is_written_again() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.unreachable.lock().insert("a");
    running.add(&["a"]).await;
    mailboxes.pass_until(|| mailboxes.cursors() == [("a", 0)]).await;
    mailboxes.cursors.lock().clear();
    running.outbox.renew(&["a"]);
    mailboxes.pass_until(|| mailboxes.cursors() == [("a", 0)]).await;
}

#[tokio::test]
async fn no_more_deliveries_run_than_there_are_slots() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.blocked.store(true, Ordering::SeqCst);
    running.add(&["a", "b", "c", "d", "e"]).await;
    mailboxes.wait_until(|| mailboxes.under_way.load(Ordering::SeqCst) == SLOTS.fast as usize).await;
    mailboxes.blocked.store(false, Ordering::SeqCst);
    mailboxes.unblocked.notify_waiters();
    mailboxes.wait_until(|| ["a", "b", "c", "d", "e"].iter().all(|key| mailboxes.received(key) == [1])).await;
    assert_eq!(mailboxes.max_under_way.load(Ordering::SeqCst), SLOTS.fast as usize);
}

#[tokio::test]
async fn one_that_keeps_a_delivery_waiting_takes_no_fast_slot() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.blocked.store(true, Ordering::SeqCst);
    running.add(&["a"]).await;
    mailboxes.wait_until(|| mailboxes.under_way.load(Ordering::SeqCst) == 1).await;
    // It is in the slow slot now: both fast ones are free.
    let all_fast = || mailboxes.under_way.load(Ordering::SeqCst) == 1 + SLOTS.fast as usize;
    mailboxes.clock.advance(FAST_LIMIT);
    running.add(&["b", "c", "d"]).await;
    mailboxes.wait_until(all_fast).await;
}

#[tokio::test]
async fn after_a_restart_each_continues_where_it_was() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    running.add(&["a", "b"]).await;
    mailboxes.wait_until(|| mailboxes.received("a") == [1] && mailboxes.received("b") == [1]).await;
    mailboxes.unreachable.lock().insert("b");
    running.add(&["a", "b"]).await;
    mailboxes.wait_until(|| mailboxes.received("a") == [1, 2] && !mailboxes.failures("b").is_empty()).await;
    running.stop().await;
    assert_eq!((*mailboxes.position.lock(), mailboxes.cursors()), (2, vec![("b", 1)]));
    mailboxes.unreachable.lock().clear();
    // Committed while nothing was delivered.
    mailboxes.log.lock().push(vec!["a"]);
    let running = Running::start(&mailboxes).await;
    mailboxes.pass_until(|| mailboxes.received("b") == [1, 2] && mailboxes.cursors().is_empty()).await;
    mailboxes.pass_until(|| mailboxes.received("a") == [1, 2, 3] && *mailboxes.position.lock() == 3).await;
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_handed_out_twice_when_two_read_the_log() {
    let mailboxes = Mailboxes::new();
    let running = Running::start(&mailboxes).await;
    mailboxes.log.lock().extend([vec!["a"], vec!["a"]]);
    let (first, second) = tokio::join!(running.outbox.distribute(), running.outbox.distribute());
    assert!(first.is_ok() && second.is_ok());
    mailboxes.wait_until(|| mailboxes.received("a").last() == Some(&2)).await;
    assert_eq!(mailboxes.received("a"), [1, 2]);
}
