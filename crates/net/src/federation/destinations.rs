//! Servers that fail are left alone, longer with each failure; what is known of that survives a restart.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_protocol::id::ServerName;
use plexus_store::repo::destinations::{self, FailingDestination};
use plexus_store::{Database, DbError};
use tokio::sync::Notify;

use super::error::FederationError;
use super::settings::Backoff;

/// The most failing servers that are remembered; beyond, those tried longest ago are forgotten.
const MOST_REMEMBERED: usize = 100_000;

/// Which servers fail.
pub(super) struct Destinations {
    db: Database,
    clock: Clock,
    random: Random,
    backoff: Backoff,
    state: Mutex<State>,
    /// One permit when `state.due` or `state.back` has changed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    failing: HashMap<ServerName, Failing>,
    /// Failing servers whose end of backoff nobody has been told of, by when that is.
    due: BTreeSet<(u64, ServerName)>,
    /// Servers that work again, of which nobody has been told.
    back: BTreeSet<ServerName>,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    /// Unix ms.
    since: u64,
    /// Unix ms.
    last_try: u64,
    /// ms
    interval: u64,
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
        backoff: Backoff,
    ) -> Result<Arc<Self>, DbError> {
        let stored = db.read(destinations::failing).await?;
        let mut state = State::default();
        for stored in stored {
            // A row that names no server can be of no use.
            let Ok(server) = ServerName::try_from(stored.server_name.as_str()) else { continue };
            let FailingDestination { failure_ts, retry_last_ts, retry_interval_ms, .. } = stored;
            state.put(server, Failing { since: failure_ts, last_try: retry_last_ts, interval: retry_interval_ms });
        }
        let state = Mutex::new(state);
        Ok(Arc::new(Self { db, clock, random, backoff, state, changed: Notify::new() }))
    }

    /// Until when (unix ms) the server is left alone; `None` if it may be tried.
    pub(super) fn until(&self, server: &ServerName) -> Option<u64> {
        let until = self.state().failing.get(server).map(Failing::until);
        until.filter(|until| *until > self.clock.now_ms())
    }

    /// Whether the server failed and nothing has been heard from it since.
    pub(super) fn is_failing(&self, server: &ServerName) -> bool {
        self.state().failing.contains_key(server)
    }

    /// The server failed, with `error`, in a request that began at `began` (unix ms).
    pub(super) async fn failed(self: &Arc<Self>, server: &ServerName, began: u64, error: &FederationError) {
        let now = self.clock.now_ms();
        {
            let mut state = self.state();
            let before = state.failing.get(server).copied();
            // Of requests that were under way together, one failure counts.
            if before.is_some_and(|before| before.last_try >= began) {
                return;
            }
            let interval = self.next_interval(before.map(|before| before.interval));
            let since = before.map_or(now, |before| before.since);
            tracing::info!("{server} is left alone for {interval} ms: {error}");
            state.put(server.clone(), Failing { since, last_try: now, interval });
            state.back.remove(server);
        }
        self.changed.notify_one();
        self.write(server).await;
    }

    /// The server answered a request.
    pub(super) async fn answered(self: &Arc<Self>, server: &ServerName) {
        if self.forget(server) {
            self.write(server).await;
        }
    }

    /// The server talked to us.
    pub(super) fn heard_from(self: &Arc<Self>, server: &ServerName) {
        if self.forget(server) {
            let (this, server) = (Arc::clone(self), server.clone());
            tokio::spawn(async move { this.write(&server).await });
        }
    }

    /// The next server that is worth trying again. Each is told once, to one caller.
    pub(super) async fn came_back(&self) -> ServerName {
        loop {
            let wait = match self.state().next_back(self.clock.now_ms()) {
                Ok(server) => return server,
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

    fn forget(&self, server: &ServerName) -> bool {
        let mut state = self.state();
        let failed = state.remove(server);
        if failed {
            state.back.insert(server.clone());
            drop(state);
            tracing::info!("{server} works again");
            self.changed.notify_one();
        }
        failed
    }

    fn next_interval(&self, before: Option<u64>) -> u64 {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let longest = millis(self.backoff.longest);
        let Some(before) = before else { return millis(self.backoff.shortest).min(longest) };
        let percent = 80 + self.random.below(61);
        before.saturating_mul(self.backoff.multiplier.into()).saturating_mul(percent).div_euclid(100).min(longest)
    }

    /// Writes what is known of the server when the database comes to it, so the last write tells the truth.
    async fn write(self: &Arc<Self>, server: &ServerName) {
        let (this, server_name) = (Arc::clone(self), server.clone());
        let written = self.db.write(move |tx| {
            let failing = this.state().failing.get(&server_name).copied();
            match failing {
                None => destinations::set_working(tx, server_name.as_str()),
                Some(Failing { since, last_try, interval }) => destinations::set_failing(
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
            tracing::warn!("cannot record how {server} fares: {error}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, server: ServerName, failing: Failing) {
        self.remove(&server);
        if self.failing.len() >= MOST_REMEMBERED
            && let Some(oldest) = self.failing.iter().min_by_key(|(_, failing)| failing.last_try)
        {
            let oldest = oldest.0.clone();
            self.remove(&oldest);
        }
        self.due.insert((failing.until(), server.clone()));
        self.failing.insert(server, failing);
    }

    fn remove(&mut self, server: &ServerName) -> bool {
        let Some(failing) = self.failing.remove(server) else { return false };
        self.due.remove(&(failing.until(), server.clone()));
        true
    }

    /// The next server to tell of, or how long (ms) until there may be one.
    fn next_back(&mut self, now: u64) -> Result<ServerName, Option<u64>> {
        if let Some(server) = self.back.pop_first() {
            return Ok(server);
        }
        match self.due.first() {
            Some((until, _)) if *until > now => Err(Some(until - now)),
            Some(_) => self.due.pop_first().map(|(_, server)| server).ok_or(None),
            None => Err(None),
        }
    }
}
