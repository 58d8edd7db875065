//! The connections of all devices: their states in memory and in the database.

use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_store::repo::sliding_sync::{self as rows, ConnectionKey};
use plexus_store::{Database, DbError};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::connection::{SentState, pack, unpack};

/// The most connections of a device: clients have two or three. Beyond it the least recently used one ends.
const MAX_CONNECTIONS_OF_DEVICE: usize = 16;
/// How long a connection lasts that nobody uses, as in Synapse.
const MAX_UNUSED_MS: u64 = 7 * 24 * 3600 * 1000;
/// How often the time of the last use is written, at most.
const USE_INTERVAL_MS: u64 = 3600 * 1000;
/// How often unused connections are deleted.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);
/// The most that is kept in memory of all connections, in rooms of about 90 bytes. States of one connection often share
/// their rooms: then it is less.
const MAX_ROOMS_IN_MEMORY: u64 = 1_000_000;
/// About how many connections are kept in memory.
const EXPECTED_CONNECTIONS: usize = 1_000;

/// What the connections have been sent. Owned by the user: one process at a time serves a connection. Every state is
/// committed before its position is sent, so that any other process reads it from the database.
pub(super) struct Connections {
    db: Database,
    clock: Clock,
    random: Random,
    held: Cache<ConnectionKey, Arc<Held>, ByRooms>,
}

/// A connection in memory.
struct Held {
    /// The last states: the one that the client presented last, and those that it was sent from there.
    states: Vec<(i64, SentState)>,
    /// When its use was last written.
    used_ms: u64,
}

#[derive(Clone)]
struct ByRooms;

impl Weighter<ConnectionKey, Arc<Held>> for ByRooms {
    fn weight(&self, _: &ConnectionKey, held: &Arc<Held>) -> u64 {
        held.states.iter().map(|(_, state)| state.weight()).sum::<u64>().max(1)
    }
}

impl Connections {
    pub(super) fn new(db: Database, clock: Clock, random: Random) -> Self {
        let held = Cache::with_weighter(EXPECTED_CONNECTIONS, MAX_ROOMS_IN_MEMORY, ByRooms);
        Self { db, clock, random, held }
    }

    /// Returns the state of a connection that its client presents, and deletes the others, to which the client does not
    /// return; `None` if the connection has ended, or has gone on since.
    pub(super) async fn present(&self, key: &ConnectionKey, state_id: i64) -> Result<Option<SentState>, DbError> {
        if state_id == 0 {
            if self.held.get(key).is_some() {
                self.keep_only(key, None).await?;
            }
            return Ok(Some(SentState::default()));
        }
        let now = self.clock.now_ms();
        let in_memory = self.held.get(key).filter(|held| held.state(state_id).is_some());
        let held = match in_memory {
            Some(held) => held,
            None => self.read(key).await?,
        };
        let unused = now.saturating_sub(held.used_ms);
        if unused > MAX_UNUSED_MS {
            return Ok(None);
        }
        let Some(state) = held.state(state_id).cloned() else { return Ok(None) };
        if unused > USE_INTERVAL_MS || held.states.len() > 1 {
            self.keep_only(key, Some((state_id, state.clone()))).await?;
        }
        Ok(Some(state))
    }

    /// Deletes all states of a connection but one, and records its use.
    async fn keep_only(&self, key: &ConnectionKey, kept: Option<(i64, SentState)>) -> Result<(), DbError> {
        let (now, write_key) = (self.clock.now_ms(), key.clone());
        let kept_id = kept.as_ref().map_or(0, |(state_id, _)| *state_id);
        self.db
            .write(move |tx| {
                rows::delete_others(tx, &write_key, kept_id)?;
                rows::set_used(tx, &write_key, now)
            })
            .await?;
        match kept {
            Some(kept) => self.held.insert(key.clone(), Arc::new(Held { states: vec![kept], used_ms: now })),
            None => drop(self.held.remove(key)),
        }
        Ok(())
    }

    /// Reads a connection into memory.
    async fn read(&self, key: &ConnectionKey) -> Result<Arc<Held>, DbError> {
        let read_key = key.clone();
        let stored = self.db.read(move |tx| rows::states(tx, &read_key)).await?;
        let used_ms = stored.iter().map(|row| row.used_ts).max().unwrap_or(0);
        let states = stored.into_iter().filter_map(|row| Some((row.state_id, unpack(&row.state)?))).collect();
        let held = Arc::new(Held { states, used_ms });
        self.held.insert(key.clone(), Arc::clone(&held));
        Ok(held)
    }

    /// Stores the state that follows `previous`, and returns its id; `None` if the client has gone on from `previous`
    /// meanwhile: then nobody waits for this response any more.
    pub(super) async fn add(
        &self,
        key: &ConnectionKey,
        previous: i64,
        state: SentState,
    ) -> Result<Option<i64>, DbError> {
        // One or more: 0 is the empty state.
        let state_id = i64::try_from(self.random.below(i64::MAX as u64)).unwrap_or(0).saturating_add(1);
        let now = self.clock.now_ms();
        let (packed, write_key) = (pack(&state), key.clone());
        let added = self
            .db
            .write(move |tx| {
                let ids = rows::add(tx, &write_key, previous, (state_id, &packed), now)?;
                let Some(ids) = ids else { return Ok::<_, DbError>(None) };
                // Only a connection that begins can be one too many.
                let ConnectionKey { user_id, device_id, .. } = &write_key;
                let ended = match previous {
                    0 => rows::delete_beyond(tx, user_id, device_id, MAX_CONNECTIONS_OF_DEVICE)?,
                    _ => Vec::new(),
                };
                Ok(Some((ids, ended)))
            })
            .await?;
        let Some((ids, ended)): Option<(Vec<i64>, Vec<String>)> = added else { return Ok(None) };
        for conn_id in ended {
            self.held.remove(&ConnectionKey { conn_id, ..key.clone() });
        }
        let before = self.held.get(key);
        let before = before.iter().flat_map(|held| &held.states).filter(|(id, _)| ids.contains(id)).cloned();
        let states = before.chain([(state_id, state)]).collect();
        self.held.insert(key.clone(), Arc::new(Held { states, used_ms: now }));
        Ok(Some(state_id))
    }

    /// Deletes connections that nobody uses now and then, without end.
    pub(super) async fn run_housekeeping(&self) {
        loop {
            self.clock.sleep(CLEANUP_INTERVAL).await;
            let before = self.clock.now_ms().saturating_sub(MAX_UNUSED_MS);
            let deleted: Result<(), DbError> = self.db.write(move |tx| rows::delete_unused(tx, before)).await;
            if let Err(error) = deleted {
                tracing::warn!(%error, "cannot delete unused connections of sliding sync");
            }
        }
    }
}

impl Held {
    fn state(&self, state_id: i64) -> Option<&SentState> {
        self.states.iter().find(|(id, _)| *id == state_id).map(|(_, state)| state)
    }
}
