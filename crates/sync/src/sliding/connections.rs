//! The connections of all devices: their states in memory and in the database.

mod memory;

use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_store::repo::sliding_sync::{self as rows, ConnectionKey, NewState};
use plexus_store::{Database, DbError};

use super::connection::{SentState, pack, unpack};
use super::pos::StateId;
use memory::{ConnectionMemory, Held};

/// The most connections of a device: clients have two or three. Beyond it the least recently used one ends.
const MAX_CONNECTIONS_OF_DEVICE: usize = 16;
/// How long a connection lasts that nobody uses, as in Synapse.
const MAX_UNUSED_MS: u64 = 7 * 24 * 3600 * 1000;
/// How often the time of the last use is written, at most.
const USE_INTERVAL_MS: u64 = 3600 * 1000;
/// How often unused connections are deleted.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);

/// How a response changes what its connection has been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StateChange {
    /// Not at all.
    #[default]
    None,
    /// Only members were sent because the timeline was about them. Nobody misses anything if that is forgotten: they
    /// are sent again.
    Members,
    /// In a way that must not be forgotten.
    Durable,
}

/// What the connections have been sent. Owned by the user: one process at a time serves a connection. Every state is
/// committed before its position is sent, so that any other process reads it from the database.
pub(super) struct Connections {
    db: Database,
    clock: Clock,
    random: Random,
    memory: Arc<ConnectionMemory>,
}

impl Connections {
    pub(super) fn new(db: Database, clock: Clock, random: Random) -> Self {
        let memory = Arc::new(ConnectionMemory::new());
        db.add_listener(&memory);
        Self { db, clock, random, memory }
    }

    /// Begins a connection: its client does not return to earlier states.
    pub(super) fn begin(&self, key: &ConnectionKey) -> SentState {
        self.memory.remove(key);
        SentState::default()
    }

    /// Returns the state of a connection that its client presents, and forgets the others, to which the client does not
    /// return; `None` if the connection has ended, or has gone on since.
    pub(super) async fn present(&self, key: &ConnectionKey, id: StateId) -> Result<Option<SentState>, DbError> {
        let in_memory = self.memory.get(key);
        let passed = in_memory.as_ref().and_then(|held| held.passed_by(id));
        // The database has it until the next state is stored.
        if passed == Some(id.stored) {
            return Ok(None);
        }
        let held = match in_memory.filter(|held| held.state(id).is_some()) {
            Some(held) => held,
            None => self.read(key).await?,
        };
        let now = self.clock.now_ms();
        let unused = now.saturating_sub(held.used_ms);
        let state = held.state(id).or_else(|| held.state(id.without_members()));
        let Some(state) = state.filter(|_| unused <= MAX_UNUSED_MS).cloned() else { return Ok(None) };
        let mut used_ms = held.used_ms;
        if unused > USE_INTERVAL_MS {
            let written = key.clone();
            self.db.write(move |tx| rows::set_used(tx, &written, now)).await?;
            used_ms = now;
        }
        self.memory.insert(key, Held { states: vec![(id, state.clone())], passed, used_ms });
        Ok(Some(state))
    }

    /// Reads a connection.
    async fn read(&self, key: &ConnectionKey) -> Result<Arc<Held>, DbError> {
        let read_key = key.clone();
        let stored = self.db.read(move |tx| rows::states(tx, &read_key)).await?;
        let used_ms = stored.iter().map(|row| row.used_ts).max().unwrap_or(0);
        let states = stored.into_iter().filter_map(|row| Some((StateId::of_stored(row.state_id), unpack(&row.state)?)));
        Ok(Arc::new(Held { states: states.collect(), passed: None, used_ms }))
    }

    /// Keeps the state that follows `previous`, and returns its id; `None` if the client has gone on from `previous`
    /// meanwhile: then nobody waits for this response any more.
    pub(super) async fn advance(
        &self,
        key: &ConnectionKey,
        previous: Option<StateId>,
        state: SentState,
        change: StateChange,
    ) -> Result<Option<StateId>, DbError> {
        match (previous, change) {
            (Some(previous), StateChange::None) => Ok(Some(previous)),
            (Some(previous), StateChange::Members) => Ok(Some(self.memory.add_members(key, previous, state))),
            _ => self.store(key, previous, state).await,
        }
    }

    async fn store(
        &self,
        key: &ConnectionKey,
        previous: Option<StateId>,
        state: SentState,
    ) -> Result<Option<StateId>, DbError> {
        let in_memory = self.memory.get(key);
        // Without one in memory its client may present any of them; one that begins returns to none.
        let kept: Option<Vec<i64>> = match (&in_memory, previous) {
            (Some(held), _) => Some(held.states.iter().map(|(id, _)| id.stored).collect()),
            (None, None) => Some(Vec::new()),
            (None, Some(_)) => None,
        };
        let previous = previous.map(|id| id.stored);
        if let (Some(previous), Some(kept)) = (previous, &kept)
            && !kept.contains(&previous)
        {
            return Ok(None);
        }
        let state_id = i64::try_from(self.random.below(i64::MAX as u64)).unwrap_or(0).saturating_add(1);
        let now_ms = self.clock.now_ms();
        let (packed, write_key) = (pack(&state), key.clone());
        let stored: Option<Vec<String>> = self
            .db
            .write(move |tx| {
                let new = NewState { state_id, state: &packed, previous, kept: kept.as_deref(), now_ms };
                if !rows::add(tx, &write_key, &new)? {
                    return Ok::<_, DbError>(None);
                }
                // Only a connection that begins can be one too many.
                let ConnectionKey { user_id, device_id, .. } = &write_key;
                Ok(Some(match previous {
                    None => rows::delete_beyond(tx, user_id, device_id, MAX_CONNECTIONS_OF_DEVICE)?,
                    Some(_) => Vec::new(),
                }))
            })
            .await?;
        let Some(ended) = stored else { return Ok(None) };
        for conn_id in ended {
            self.memory.remove(&ConnectionKey { conn_id, ..key.clone() });
        }
        let id = StateId::of_stored(state_id);
        self.memory.add(key, id, state, now_ms);
        Ok(Some(id))
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
