//! Simplified sliding sync (MSC4186,
//! <https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md>): the rooms
//! in windows of sorted lists, and the rooms that a client names, as far as its connection does not have them.
//!
//! A response is made in steps: `known_rooms` are the rooms of the user, from which `lists` selects those that the
//! response is about; `rooms` reads what their client does not have (`connection`); `extensions` add the rest;
//! `write` turns it into JSON. What the client has then is stored (`connections`) before the response is sent.

mod connection;
mod connections;
mod extensions;
mod known_rooms;
mod labels;
mod lists;
mod pos;
mod request;
mod required_state;
mod room;
mod room_facts;
mod rooms;
mod write;

use std::pin::pin;
use std::sync::Arc;

use plexus_base::{Clock, Random, Shutdown};
use plexus_store::DbError;
use plexus_store::repo::sliding_sync::ConnectionKey;
use tokio::sync::Semaphore;

use crate::delta::context::Context;
use crate::delta::{DeltaReader, DeltaRequest, Now, ProfileFields, has_changes, to_device};
use crate::ephemeral::EphemeralSerial;
use crate::v3::SyncEngine;
use connection::{SentState, can_keep};
use connections::Connections;
use extensions::{ExtensionReader, ExtensionUpdates};
use known_rooms::KnownRooms;
use labels::LabelsCache;
use lists::Selection;
pub use pos::Pos;
pub use request::{
    ExtensionRooms, Extensions, Form, List, ListFilters, ProfilesExtension, RoomConfig, SlidingRequest,
    StickyExtension, ToDeviceExtension,
};
pub use required_state::{RequiredState, StatePattern, StateSelection};
use room::RoomReader;
use room_facts::RoomFactsCache;
use rooms::RoomUpdates;
use write::{Response, Writer};

/// Why a sliding sync failed.
#[derive(Debug, thiserror::Error)]
pub enum SlidingSyncError {
    /// The connection has ended: the client begins again, without `pos`.
    #[error("the position is unknown")]
    UnknownPos,
    /// The rooms' required states are too many or too large for a connection.
    #[error("too much required state")]
    TooMuchRequiredState,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The services from which sliding syncs are served.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct SlidingSyncParts {
    /// Reads deltas.
    pub engine: Arc<SyncEngine>,
    pub serial: Arc<EphemeralSerial>,
    pub random: Random,
    pub shutdown: Shutdown,
}

/// The most responses that are made at once: what is read for them is in memory until they are written.
const MAX_RESPONSES_AT_ONCE: usize = 32;

/// Serves sliding syncs.
pub struct SlidingSync {
    engine: Arc<SyncEngine>,
    serial: Arc<EphemeralSerial>,
    shutdown: Shutdown,
    clock: Clock,
    connections: Connections,
    facts: RoomFactsCache,
    labels: LabelsCache,
    responses: Semaphore,
}

/// A response that has not been sent.
struct Outcome {
    upto: Now,
    selection: Selection,
    rooms: RoomUpdates,
    extensions: ExtensionUpdates,
}

impl SlidingSync {
    /// Creates the service of a server, which has one.
    #[must_use]
    pub fn new(parts: SlidingSyncParts) -> Self {
        let SlidingSyncParts { engine, serial, random, shutdown } = parts;
        let deltas = engine.deltas().parts();
        let (clock, db) = (deltas.clock.clone(), deltas.db.clone());
        let connections = Connections::new(db, clock.clone(), random);
        let (facts, labels) = (RoomFactsCache::new(), LabelsCache::new());
        let responses = Semaphore::new(MAX_RESPONSES_AT_ONCE);
        Self { engine, serial, shutdown, clock, connections, facts, labels, responses }
    }

    /// Deletes connections that nobody uses now and then, without end.
    pub async fn run_housekeeping(self: Arc<Self>) {
        self.connections.run_housekeeping().await;
    }

    fn deltas(&self) -> &DeltaReader {
        self.engine.deltas()
    }

    /// Returns the body of the response, JSON. Waits up to the request's timeout when there is nothing new.
    ///
    /// # Errors
    /// When the position is unknown or the database fails.
    pub async fn sync(&self, request: SlidingRequest) -> Result<String, SlidingSyncError> {
        let parts = self.deltas().parts();
        let device = request.device.clone().unwrap_or_default();
        let _connected = parts.presence.sync_started(&request.user, &device, request.set_presence);
        let key =
            ConnectionKey { user_id: request.user.to_string(), device_id: device, conn_id: request.conn_id.clone() };
        let from = request.pos.map(|pos| Pos { ephemeral: self.serial.seen(pos.ephemeral), ..pos });
        let state = self.state(&key, from).await?;
        let delta = self.delta_request(&request, from);
        let since = request.extensions.to_device.and_then(|to_device| to_device.since);
        // One of the future is of a database that is no longer there: the device has none of these messages.
        if let Some(since) = since.filter(|since| *since <= self.engine.now().position) {
            to_device::acknowledge(parts, &delta, since).await?;
        }
        // Registered before anything is read, so that nothing falls between reading and waiting.
        let wait = parts.notifier.wait(&request.user);
        let _follower = (delta.profiles != ProfileFields::None).then(|| parts.notifier.follow_profiles());
        let mut woken = wait.woken();
        // Boxed: thousands of requests wait in this function, and only few of them read.
        let mut turn = self.responses.acquire().await.ok();
        let mut outcome = Box::pin(self.read(&request, &delta, from, &state, self.engine.now())).await?;
        let mut deadline = pin!(self.clock.sleep(request.timeout));
        while from.is_some() && outcome.is_empty() && !request.timeout.is_zero() {
            drop(turn.take());
            let waiting = request.long_poll.wait();
            tokio::select! {
                () = woken => {}
                () = self.shutdown.begun() => break,
                () = waiting.must_end() => break,
                () = &mut deadline => break,
            }
            drop(waiting);
            woken = wait.woken();
            let now = self.engine.now();
            let since_read = DeltaRequest { since: Some(outcome.upto.token()), ..delta.clone() };
            if has_changes::may_have_changes(parts, &since_read, now) {
                turn = self.responses.acquire().await.ok();
                outcome = Box::pin(self.read(&request, &delta, from, &state, now)).await?;
            } else {
                // Nothing up to here concerns the user.
                outcome.upto = now;
            }
        }
        self.respond(&key, &request, &delta, outcome).await
    }

    /// Returns what the client has.
    async fn state(&self, key: &ConnectionKey, from: Option<Pos>) -> Result<SentState, SlidingSyncError> {
        let Some(from) = from else { return Ok(self.connections.begin(key)) };
        // A position of the future is of a database that is no longer there.
        if from.position > self.engine.now().position {
            return Err(SlidingSyncError::UnknownPos);
        }
        self.connections.present(key, from.state_id).await?.ok_or(SlidingSyncError::UnknownPos)
    }

    fn delta_request(&self, request: &SlidingRequest, from: Option<Pos>) -> DeltaRequest {
        DeltaRequest {
            user: request.user.clone(),
            device: request.device.clone(),
            since: from.map(Pos::token),
            filter: Arc::default(),
            full_state: false,
            state_after: true,
            profiles: self.profile_fields(request),
            // An extension of its own has them.
            sticky: false,
        }
    }

    fn profile_fields(&self, request: &SlidingRequest) -> ProfileFields {
        let extension = request.extensions.profiles.as_ref();
        match extension.filter(|_| self.deltas().parts().options.include_profile_updates) {
            None => ProfileFields::None,
            Some(ProfilesExtension { fields: Some(names), .. }) => ProfileFields::named(names),
            Some(_) => ProfileFields::All,
        }
    }

    /// Reads what the client does not have, up to `now` or a little later.
    async fn read(
        &self,
        request: &SlidingRequest,
        delta: &DeltaRequest,
        from: Option<Pos>,
        state: &SentState,
        now: Now,
    ) -> Result<Outcome, SlidingSyncError> {
        let deltas = self.deltas();
        let parts = deltas.parts();
        let context = Context::new(parts, delta, now).await?;
        let labels = self.labels.of(&parts.db, &parts.notifier, &request.user).await?;
        let position = from.map(|from| from.position);
        let mut selection = Selection::default();
        let mut known = KnownRooms::default();
        if !request.lists.is_empty() || !request.subscriptions.is_empty() || state.rooms().next().is_some() {
            known = KnownRooms::read(&context, &self.facts, state, position.unwrap_or(0)).await?;
            selection = lists::select(&context, request, &known, &labels).await?;
            if !can_keep(selection.rooms.values().map(|relevant| &relevant.config.required_state)) {
                return Err(SlidingSyncError::TooMuchRequiredState);
            }
        }
        let reader = RoomReader { context: &context, state, from: position, form: request.form, labels: &labels };
        let mut rooms = rooms::read(&reader, &known, &selection).await?;
        let extensions = ExtensionReader { context: &context, request, selection: &selection, from };
        let key_counts = if request.extensions.e2ee { deltas.key_counts(delta).await? } else { None };
        let extensions = extensions.read(key_counts, &mut rooms).await?;
        Ok(Outcome { upto: context.now, selection, rooms, extensions })
    }

    /// Stores what the client has after a response, and returns the response.
    async fn respond(
        &self,
        key: &ConnectionKey,
        request: &SlidingRequest,
        delta: &DeltaRequest,
        outcome: Outcome,
    ) -> Result<String, SlidingSyncError> {
        let Outcome { upto, selection, rooms, extensions } = outcome;
        let previous = request.pos.map(|pos| pos.state_id);
        let state_id = self.connections.advance(key, previous, rooms.state, rooms.change).await?;
        let state_id = state_id.ok_or(SlidingSyncError::UnknownPos)?;
        let pos = Pos { state_id, position: upto.position, ephemeral: upto.ephemeral };
        let writer = Writer { form: request.form, format: delta.format(self.clock.now_ms()) };
        let response = Response { pos, selection: &selection, rooms: &rooms.updates, extensions: &extensions };
        Ok(writer.response(&response))
    }
}

impl Outcome {
    fn is_empty(&self) -> bool {
        self.rooms.updates.is_empty() && !self.rooms.has_more && self.extensions.is_empty()
    }
}
