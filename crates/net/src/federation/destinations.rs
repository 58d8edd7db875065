//! Which servers fail: they are backed off, longer with each failure. The database has a row for each of them that is
//! known to be a server, so that a restart does not try them all at once. A name that may be made up is kept in memory
//! only, and not for long when there are many. Owned by the federation client.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::{Background, Clock, Random};
use plexus_protocol::id::ServerName;
use plexus_store::repo::destinations::{self, FailingDestination};
use plexus_store::{Database, DbError};
use tokio::sync::Notify;

use super::error::FederationError;
use super::settings::{Backoff, Retries};

/// The most failing servers in memory; beyond, those tried longest ago are forgotten.
const MAX_SERVERS: usize = 100_000;
/// The most failing names in memory that may be made up: anybody can make up more.
const MAX_UNKNOWN_SERVERS: usize = 10_000;

/// Which servers fail.
pub(super) struct Destinations {
    db: Database,
    clock: Clock,
    random: Random,
    background: Background,
    backoff: Backoff,
    retries: Retries,
    state: Mutex<State>,
    /// One permit when `state.due` or `state.back` has changed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    failing: HashMap<ServerName, Failing>,
    /// The names in `failing` by when each was tried last (Unix ms): known servers, and names that may be made up.
    known: BTreeSet<(u64, ServerName)>,
    unknown: BTreeSet<(u64, ServerName)>,
    /// Servers to which deliveries are tried again before they are backed off.
    retried: HashMap<ServerName, Retried>,
    /// Servers to which a delivery is under way, and whether they have been heard from meanwhile.
    delivering: HashMap<ServerName, bool>,
    /// Servers that [`Destinations::came_back`] is to return once it is this late (Unix ms).
    due: BTreeSet<(u64, ServerName)>,
    /// Servers that work again and that [`Destinations::came_back`] is to return.
    back: BTreeSet<ServerName>,
}

#[derive(Debug, Clone, Copy)]
struct Retried {
    /// How many of the retries are used up.
    tries: u32,
    /// When the next one is due, in Unix ms.
    at: u64,
    /// Whether the server turned out to be up while one failed; it may refuse deliveries all the same.
    is_up: bool,
}

/// A server that is worth trying again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameBack {
    /// Its name.
    pub server: ServerName,
    /// Whether it is known to be up: it responded, or sent something. Otherwise its backoff is over.
    pub is_up: bool,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    /// Unix ms.
    since: u64,
    /// Unix ms.
    last_try: u64,
    /// ms
    interval: u64,
    /// Whether it is known to be a server. Only those have rows.
    known: bool,
}

impl Failing {
    fn until(&self) -> u64 {
        self.last_try.saturating_add(self.interval)
    }
}

impl Destinations {
    /// Reads what was known before the restart.
    pub(super) async fn load(
        db: Database,
        clock: Clock,
        random: Random,
        background: Background,
        (backoff, retries): (Backoff, Retries),
    ) -> Result<Arc<Self>, DbError> {
        let stored = db.read(destinations::failing).await?;
        let mut state = State::default();
        for stored in stored {
            // A row that names no server can be of no use.
            let Ok(server) = ServerName::try_from(stored.server_name.as_str()) else { continue };
            let FailingDestination { failure_ts, retry_last_ts, retry_interval_ms, .. } = stored;
            let (since, last_try, interval) = (failure_ts, retry_last_ts, retry_interval_ms);
            state.put(server, Failing { since, last_try, interval, known: true });
        }
        let state = Mutex::new(state);
        Ok(Arc::new(Self { db, clock, random, background, backoff, retries, state, changed: Notify::new() }))
    }

    /// Until when (Unix ms) the server is backed off; `None` if it may be tried.
    pub(super) fn until(&self, server: &ServerName) -> Option<u64> {
        let until = self.state.lock().failing.get(server).map(Failing::until);
        until.filter(|until| *until > self.clock.now_ms())
    }

    /// Whether the server failed and nothing has been heard from it since.
    pub(super) fn is_failing(&self, server: &ServerName) -> bool {
        self.state.lock().failing.contains_key(server)
    }

    /// Whether deliveries to the server are tried again before it is backed off.
    pub(super) fn is_retried(&self, server: &ServerName) -> bool {
        self.state.lock().retried.contains_key(server)
    }

    /// Whether [`Self::came_back`] will return the server for the next of these tries.
    pub(super) fn will_be_retried(&self, server: &ServerName) -> bool {
        let state = self.state.lock();
        let is_due = |retried: &Retried| state.due.contains(&(retried.at, server.clone()));
        state.back.contains(server) || state.retried.get(server).is_some_and(is_due)
    }

    /// A delivery to the server begins.
    pub(super) fn delivery_begins(&self, server: &ServerName) {
        self.state.lock().delivering.insert(server.clone(), false);
    }

    /// The delivery to the server came to an end. Returns whether the server was heard from meanwhile.
    pub(super) fn delivery_ends(&self, server: &ServerName) -> bool {
        self.state.lock().delivering.remove(server).unwrap_or(false)
    }

    /// A delivery to the server failed, and meanwhile it turned out to be up. Returns whether it is to be tried again
    /// before the server is backed off: first at once, for the failure may be older than the sign of life; then as by
    /// [`Self::retry`], because a server that is up may refuse every delivery.
    pub(super) fn retry_although_up(&self, server: &ServerName) -> bool {
        let mut state = self.state.lock();
        if state.retried.contains_key(server) || state.retried.len() >= MAX_SERVERS {
            drop(state);
            return self.retry_later(server, true, Duration::ZERO);
        }
        state.retried.insert(server.clone(), Retried { tries: 1, at: self.clock.now_ms(), is_up: true });
        state.back.insert(server.clone());
        drop(state);
        self.changed.notify_one();
        true
    }

    /// A delivery to the server failed, and it asks to be left alone for `at_least`. Returns whether it is to be tried
    /// again before the server is backed off.
    pub(super) fn retry(&self, server: &ServerName, at_least: Duration) -> bool {
        self.retry_later(server, false, at_least)
    }

    /// As [`Self::retry`]; when the retries are used up, they start again after the longest pause.
    pub(super) fn retry_in_any_case(&self, server: &ServerName, at_least: Duration) -> bool {
        self.retry(server, at_least) || self.retry_after(server, at_least.max(self.retries.long_delay))
    }

    fn retry_later(&self, server: &ServerName, is_up: bool, at_least: Duration) -> bool {
        let mut state = self.state.lock();
        let is_up = is_up || state.retried.get(server).is_some_and(|retried| retried.is_up);
        let tries = state.end_retries(server).unwrap_or(0);
        if tries >= self.retries.long || state.retried.len() >= MAX_SERVERS {
            return false;
        }
        let pause = Duration::from_secs(4_u64.saturating_pow(tries + 1)).min(self.retries.long_delay);
        let pause = with_jitter(pause, &self.random).max(at_least);
        let at = self.clock.now_ms().saturating_add(millis(pause));
        state.retried.insert(server.clone(), Retried { tries: tries + 1, at, is_up });
        state.due.insert((at, server.clone()));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// A delivery to the server failed for a reason that lies on this side and may be over after `pause`. Returns
    /// whether it is to be tried again then, which does not count as one of the retries.
    pub(super) fn retry_after(&self, server: &ServerName, pause: Duration) -> bool {
        let mut state = self.state.lock();
        let is_up = state.retried.get(server).is_some_and(|retried| retried.is_up);
        let tries = state.end_retries(server).unwrap_or(0);
        if state.retried.len() >= MAX_SERVERS {
            return false;
        }
        // Not before the pause is over, and not all at once then.
        let at = self.clock.now_ms().saturating_add(millis(pause)).saturating_add(self.random.below(1000));
        state.retried.insert(server.clone(), Retried { tries, at, is_up });
        state.due.insert((at, server.clone()));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// A delivery ended in a way that says nothing about when to try again.
    pub(super) fn end_retries(&self, server: &ServerName) {
        self.state.lock().end_retries(server);
    }

    /// The server failed, with `error`, in a request that began at `began` (Unix ms).
    pub(super) async fn failed(self: &Arc<Self>, server: &ServerName, began: u64, error: &FederationError) {
        let now = self.clock.now_ms();
        let known;
        {
            let mut state = self.state.lock();
            let before = state.failing.get(server).copied();
            // Of requests that were under way together, one failure counts.
            if before.is_some_and(|before| before.last_try >= began) {
                return;
            }
            let interval = self.next_interval(before.map(|before| before.interval));
            let since = before.map_or(now, |before| before.since);
            known = before.is_some_and(|before| before.known);
            tracing::info!("{server} is backed off for {interval} ms: {error}");
            state.put(server.clone(), Failing { since, last_try: now, interval, known });
            if !state.retried.contains_key(server) {
                state.back.remove(server);
            }
        }
        self.changed.notify_one();
        // The failure is in memory by now: the caller may be dropped while the database is asked.
        if known || self.is_known(server).await && self.raise(server) {
            self.write(server).await;
        }
    }

    /// Counts a failing name as a known server's. Returns `false` if it does not fail any more.
    fn raise(&self, server: &ServerName) -> bool {
        let mut state = self.state.lock();
        let Some(failing) = state.failing.get(server).copied() else { return false };
        state.raise(server, failing);
        true
    }

    /// Whether there is such a server, as far as the database knows.
    async fn is_known(&self, server: &ServerName) -> bool {
        let name = server.clone();
        let known: Result<_, DbError> = self.db.read(move |tx| destinations::is_server(tx, name.as_str())).await;
        known.unwrap_or_else(|error| {
            tracing::warn!("cannot find out whether {server} is a known server: {error}");
            false
        })
    }

    /// The server responded to a request: a delivery, or something else that shows only that it is up.
    pub(super) async fn answered(self: &Arc<Self>, server: &ServerName, delivery: bool) {
        if self.forget(server, delivery).is_some_and(|failed| failed.known) {
            self.write(server).await;
        }
    }

    /// The server sent something.
    pub(super) fn heard_from(self: &Arc<Self>, server: &ServerName) {
        if self.forget(server, false).is_some_and(|failed| failed.known) {
            let (this, server) = (Arc::clone(self), server.clone());
            self.background.spawn("state of another server", async move { this.write(&server).await });
        }
    }

    /// Waits for the next server that is worth trying again. Each is returned once, to one caller.
    pub(super) async fn came_back(&self) -> CameBack {
        loop {
            let wait = match self.state.lock().next_back(self.clock.now_ms()) {
                Ok(came_back) => return came_back,
                Err(wait) => wait,
            };
            let elapsed = async {
                match wait {
                    Some(wait) => self.clock.sleep(Duration::from_millis(wait)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = elapsed => {}
            }
        }
    }

    /// The server is up. Retries during which it was up before end only once it accepts a delivery (`delivered`).
    fn forget(&self, server: &ServerName, delivered: bool) -> Option<Failing> {
        let mut state = self.state.lock();
        if let Some(heard_from) = state.delivering.get_mut(server) {
            *heard_from = true;
        }
        let failed = state.remove(server);
        if !delivered && state.retried.get(server).is_some_and(|retried| retried.is_up) {
            return failed;
        }
        let retried = state.end_retries(server);
        if failed.is_none() && retried.is_none() {
            return None;
        }
        state.back.insert(server.clone());
        drop(state);
        tracing::info!("{server} works again");
        self.changed.notify_one();
        failed
    }

    fn next_interval(&self, before: Option<u64>) -> u64 {
        let longest = millis(self.backoff.longest);
        let Some(before) = before else { return millis(self.backoff.shortest).min(longest) };
        let percent = 80 + self.random.below(61);
        before.saturating_mul(self.backoff.multiplier.into()).saturating_mul(percent).div_euclid(100).min(longest)
    }

    /// Records the state of the server. The state is read inside the write, so that the last write is right.
    async fn write(self: &Arc<Self>, server: &ServerName) {
        let (this, server_name) = (Arc::clone(self), server.clone());
        let written = self.db.write(move |tx| {
            let failing = this.state.lock().failing.get(&server_name).copied();
            match failing {
                None => destinations::set_working(tx, server_name.as_str()),
                Some(Failing { since, last_try, interval, .. }) => destinations::set_failing(
                    tx,
                    &FailingDestination {
                        server_name: server_name.as_str().to_owned(),
                        failure_ts: since,
                        retry_last_ts: last_try,
                        retry_interval_ms: interval,
                    },
                ),
            }
        });
        let written: Result<(), DbError> = written.await;
        if let Err(error) = written {
            tracing::warn!("cannot record the state of {server}: {error}");
        }
    }
}

impl State {
    fn put(&mut self, server: ServerName, failing: Failing) {
        self.remove(&server);
        self.due.insert((failing.until(), server.clone()));
        self.by_last_try(failing.known).insert((failing.last_try, server.clone()));
        self.failing.insert(server, failing);
        let most = if failing.known { MAX_SERVERS } else { MAX_UNKNOWN_SERVERS };
        if self.by_last_try(failing.known).len() > most
            && let Some((_, oldest)) = self.by_last_try(failing.known).first().cloned()
        {
            self.remove(&oldest);
            // Whoever waits for it learns now that it may be tried.
            self.due.insert((0, oldest));
        }
    }

    fn raise(&mut self, server: &ServerName, failing: Failing) {
        let is_due = self.due.contains(&(failing.until(), server.clone()));
        self.put(server.clone(), Failing { known: true, ..failing });
        if !is_due {
            // It has been returned already.
            self.due.remove(&(failing.until(), server.clone()));
        }
    }

    fn by_last_try(&mut self, known: bool) -> &mut BTreeSet<(u64, ServerName)> {
        if known { &mut self.known } else { &mut self.unknown }
    }

    fn remove(&mut self, server: &ServerName) -> Option<Failing> {
        let failing = self.failing.remove(server)?;
        self.due.remove(&(failing.until(), server.clone()));
        self.by_last_try(failing.known).remove(&(failing.last_try, server.clone()));
        Some(failing)
    }

    /// Returns how many retries are used up.
    fn end_retries(&mut self, server: &ServerName) -> Option<u32> {
        let Retried { tries, at, .. } = self.retried.remove(server)?;
        self.due.remove(&(at, server.clone()));
        Some(tries)
    }

    /// The next server that is worth trying again, or how long (ms) until there may be one.
    fn next_back(&mut self, now: u64) -> Result<CameBack, Option<u64>> {
        if let Some(server) = self.back.pop_first() {
            return Ok(CameBack { server, is_up: true });
        }
        match self.due.first() {
            Some((until, _)) if *until > now => Err(Some(until - now)),
            Some(_) => self.due.pop_first().map(|(_, server)| CameBack { server, is_up: false }).ok_or(None),
            None => Err(None),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The pause, randomly shorter or longer, so that servers that failed together are not tried together.
pub(super) fn with_jitter(pause: Duration, random: &Random) -> Duration {
    pause.mul_f64(0.8 + 0.6 * (random.below(1000) as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_push_out_made_up_names_only() {
        let mut state = State::default();
        let name = |number: usize| ServerName::try_from(format!("n{number}.example")).unwrap();
        let failing = |last_try: usize, known: bool| {
            let last_try = u64::try_from(last_try).unwrap();
            Failing { since: last_try, last_try, interval: 1_000, known }
        };
        state.put(name(0), failing(0, true));
        for number in 1..=MAX_UNKNOWN_SERVERS + 10 {
            state.put(name(number), failing(number, false));
            if let Some(evicted) = number.checked_sub(MAX_UNKNOWN_SERVERS).filter(|evicted| *evicted > 0) {
                assert_eq!(state.next_back(0), Ok(CameBack { server: name(evicted), is_up: false }));
            }
            assert!(state.next_back(0).is_err());
        }
        assert_eq!((state.failing.len(), state.due.len()), (MAX_UNKNOWN_SERVERS + 1, MAX_UNKNOWN_SERVERS + 1));
        assert!(state.failing.contains_key(&name(0)) && !state.failing.contains_key(&name(10)));
        // A name that turns out to be a server's counts as one.
        state.put(name(11), failing(MAX_UNKNOWN_SERVERS + 11, true));
        assert_eq!((state.known.len(), state.unknown.len()), (2, MAX_UNKNOWN_SERVERS - 1));
    }
}
