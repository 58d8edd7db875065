//! Application services as destinations of an outbox.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::{AppService, AppServices, Clock};
use plexus_net::AppServiceClient;
use plexus_protocol::id::UserId;
use plexus_store::repo::app_service_out;
use plexus_store::repo::one_time_keys::{self, UserKeys};
use plexus_store::repo::to_device::{self, TargetedMessage};
use plexus_store::repo::users;
use plexus_store::{Database, DbError, Position, Tx};
use tokio::sync::mpsc;

use super::content::{LogContent, ServiceId, ServiceIds};
use super::extensions::Extensions;
use super::extras::{Ephemeral, ServiceExtras};
use super::log::LogReader;
use super::transaction::{PreparedTransaction, Transaction, devices_with_messages, messages};
use crate::outbox::{
    Behind, CameBack, Content, Cursors, DestinationKind, Due, LogChunk, Outcome, Progress, Retry, SlotLimits, Turn,
};

/// The most entries of the log in one transaction, as in Synapse.
const MAX_ENTRIES: usize = 100;
/// The most content of the log in one transaction, in bytes, unless one entry is larger: invites bring up to a MiB of
/// stripped state each, and services refuse bodies of many MB.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most transactions that are under way at the same time: hundreds of services may be down, and wait for a timeout.
pub(super) const SLOTS: SlotLimits = SlotLimits { fast: 64, slow: 64 };
/// How long a service that failed is left alone; twice as long after each further failure.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// How long a service is left alone at most, as in Synapse. It is tried at once when it pings this server.
const MAX_RETRY: Duration = Duration::from_secs(512);

/// How many services that are up wait to be tried again; more of them wait until their time.
const MAX_CAME_BACK: usize = 64;

/// Application services.
pub(super) struct Services {
    db: Database,
    clock: Clock,
    app_services: Arc<AppServices>,
    client: AppServiceClient,
    log: LogReader,
    extensions: Extensions,
    /// The transactions that were sent and not accepted. Owned by the process that delivers; another one reads them
    /// from the database.
    pending: Mutex<HashMap<ServiceId, PreparedTransaction>>,
    /// When this began, Unix ms: part of the ids of transactions that hold nothing durable.
    began_ms: u64,
    serial: AtomicU64,
    /// The services that have shown that they are up.
    came_back: tokio::sync::Mutex<mpsc::Receiver<ServiceId>>,
}

/// Where services that are up are noted.
pub(super) type CameBackSender = mpsc::Sender<ServiceId>;

impl Services {
    pub(super) fn new(
        db: Database,
        clock: Clock,
        app_services: Arc<AppServices>,
        client: AppServiceClient,
        log: LogReader,
    ) -> (Self, CameBackSender) {
        let (sender, came_back) = mpsc::channel(MAX_CAME_BACK);
        let (extensions, began_ms) = (log.extensions, clock.now_ms());
        let services = Self {
            db,
            clock,
            app_services,
            client,
            log,
            extensions,
            pending: Mutex::default(),
            began_ms,
            serial: AtomicU64::new(0),
            came_back: tokio::sync::Mutex::new(came_back),
        };
        (services, sender)
    }

    fn find(&self, id: &str) -> Option<Arc<AppService>> {
        self.app_services.current()?.by_id(id).cloned()
    }

    /// Returns the next transaction, stored if it holds something durable; `None` if it would be empty.
    async fn prepare(
        &self,
        service: &AppService,
        due: &Due<LogContent>,
        extras: &ServiceExtras,
    ) -> Result<Option<PreparedTransaction>, DbError> {
        let ephemeral: Vec<Ephemeral> = extras.ephemeral.iter().cloned().collect();
        if due.entries.is_empty() && ephemeral.is_empty() && extras.key_users.is_empty() {
            return Ok(None);
        }
        let Ok(reader) = UserId::try_from(service.sender.as_str()) else { return Ok(None) };
        let messages = messages(&due.entries);
        let keys = if service.msc3202 && self.extensions.msc3202 {
            let users = extras.key_users.iter().map(ToString::to_string);
            let users = users.chain(messages.iter().map(|message| message.user.clone()));
            self.keys(users.chain([service.sender.clone()]).collect()).await?
        } else {
            BTreeMap::new()
        };
        let transaction = Transaction {
            service,
            extensions: self.extensions,
            entries: &due.entries,
            ephemeral: &ephemeral,
            keys: &keys,
        };
        let now_ms = self.clock.now_ms();
        let body: Arc<str> = transaction.body(&reader, now_ms).into();
        if due.entries.is_empty() {
            let txn_id = format!("{}-{}", self.began_ms, self.serial.fetch_add(1, Ordering::Relaxed));
            return Ok(Some(PreparedTransaction { txn_id, upto: due.upto, body, messages }));
        }
        // No other transaction ends there.
        let prepared = PreparedTransaction { txn_id: format!("{}.{now_ms}", due.upto), upto: due.upto, body, messages };
        let (stored, id) = (prepared.clone(), service.id.clone());
        let store = move |tx: &mut Tx<'_>| {
            app_service_out::begin_transaction(tx, &id, &stored.txn_id, stored.upto, &stored.body)
        };
        self.db.write::<_, DbError, _>(store).await?;
        self.pending.lock().insert(service.id.as_str().into(), prepared.clone());
        Ok(Some(prepared))
    }

    async fn keys(&self, users: BTreeSet<String>) -> Result<BTreeMap<String, UserKeys>, DbError> {
        let read = move |tx: &mut Tx<'_>| {
            let mut keys = BTreeMap::new();
            for user in users {
                let of_user = one_time_keys::of_user(tx, &user)?;
                if !of_user.is_empty() {
                    keys.insert(user, of_user);
                }
            }
            Ok::<_, DbError>(keys)
        };
        self.db.read(read).await
    }

    /// Returns the messages for devices in a stored transaction that begins after `after`.
    async fn messages_of(&self, body: &str, after: Position, upto: Position) -> Result<Vec<TargetedMessage>, DbError> {
        let devices = devices_with_messages(body);
        let read = move |tx: &mut Tx<'_>| {
            let mut messages = Vec::new();
            for (user, device) in devices {
                let positions = to_device::positions_between(tx, &user, &device, after, upto)?;
                let message = |position| TargetedMessage { user: user.clone(), device: device.clone(), position };
                messages.extend(positions.into_iter().map(message));
            }
            Ok::<_, DbError>(messages)
        };
        self.db.read(read).await
    }

    /// Asks a service about users of its namespace that are invited and do not exist: it may register them.
    async fn ask_about_invited(&self, service: &AppService, entries: &[(Position, LogContent)]) -> Result<(), DbError> {
        for (_, content) in entries {
            let LogContent::Event { event, stripped_state: Some(_) } = content else { continue };
            let Some(user) = event.pdu.state_key().filter(|user| service.is_interested_in_user(user)) else { continue };
            let name = user.to_owned();
            let is_known = move |tx: &mut Tx<'_>| Ok::<_, DbError>(users::get(tx, &name)?.is_some());
            if self.log.is_local(user) && !self.db.read(is_known).await? && self.client.has_user(service, user).await {
                tracing::debug!("the application service {} has registered {user}", service.id);
            }
        }
        Ok(())
    }

    /// Records that a service has accepted its last transaction.
    async fn accepted(&self, service: &ServiceId, transaction: PreparedTransaction) -> Result<(), DbError> {
        if !self.pending.lock().contains_key(service) {
            return Ok(());
        }
        // Devices of users that it shares with others get their messages by themselves.
        let registration = self.find(service);
        let is_own = |user: &str| registration.as_ref().is_some_and(|service| service.is_exclusive_user(user));
        let own_messages: Vec<_> = transaction.messages.into_iter().filter(|message| is_own(&message.user)).collect();
        let id = service.to_string();
        let end = move |tx: &mut Tx<'_>| app_service_out::end_transaction(tx, &id, &own_messages);
        self.db.write::<_, DbError, _>(end).await?;
        self.pending.lock().remove(service);
        Ok(())
    }

    async fn try_to_deliver(
        &self,
        turn: &Turn<ServiceId, ServiceExtras>,
        due: Due<LogContent>,
    ) -> Result<Outcome<ServiceExtras>, Box<dyn Error + Send + Sync>> {
        let Some(service) = self.find(&turn.key).filter(|service| service.url.is_some()) else {
            return Ok(Outcome::Abandoned);
        };
        let pending = self.pending.lock().get(&turn.key).cloned();
        let (transaction, remaining) = match pending {
            Some(transaction) => (transaction, turn.extras.clone()),
            None => {
                let due = first_bytes(due);
                self.ask_about_invited(&service, &due.entries).await?;
                let (extras, rest) = turn.extras.split();
                match self.prepare(&service, &due, &extras).await? {
                    Some(transaction) => (transaction, rest),
                    None => return Ok(Outcome::Delivered { cursor: due.upto, remaining: rest }),
                }
            }
        };
        let body = transaction.body.as_bytes().to_vec().into();
        self.client.send_transaction(&service, &transaction.txn_id, body).await?;
        let upto = transaction.upto;
        self.accepted(&turn.key, transaction).await?;
        Ok(Outcome::Delivered { cursor: upto.max(turn.cursor), remaining })
    }
}

/// Returns the first part of what is due, as much as one transaction takes.
fn first_bytes(mut due: Due<LogContent>) -> Due<LogContent> {
    let mut bytes = 0;
    let mut fits = |(_, content): &(Position, LogContent)| {
        bytes += content.bytes();
        bytes <= MAX_BYTES
    };
    let fitting = due.entries.iter().take_while(|entry| fits(entry)).count().max(1);
    if fitting < due.entries.len() {
        due.entries.truncate(fitting);
        due.upto = due.entries.last().map_or(due.upto, |(position, _)| *position);
    }
    due
}

impl DestinationKind for Services {
    type Key = ServiceId;
    type Content = LogContent;
    type Recipients = ServiceIds;
    type Extras = ServiceExtras;

    const MAX_DUE: usize = MAX_ENTRIES;
    const DESTINATIONS: &'static str = "application services";

    async fn load_cursors(&self) -> Result<Cursors<ServiceId, ServiceExtras>, DbError> {
        let services: Vec<String> = self
            .app_services
            .current()
            .map(|services| services.all().iter().map(|service| service.id.clone()).collect())
            .unwrap_or_default();
        let stored = self.db.write::<_, DbError, _>(move |tx| app_service_out::begin(tx, &services)).await?;
        let position = stored.position;
        let mut behind: BTreeMap<ServiceId, Behind<ServiceId>> = BTreeMap::new();
        let destination = |id: &str, cursor, stored| {
            let key: ServiceId = id.into();
            (Arc::clone(&key), Behind { key, cursor, stored, away: false })
        };
        behind.extend(stored.cursors.iter().map(|(id, cursor)| destination(id, *cursor, Some(*cursor))));
        for last in stored.transactions {
            let key: ServiceId = last.service_id.as_str().into();
            let stored = behind.get(&key).map(|behind| behind.cursor);
            let cursor = stored.unwrap_or(position);
            let cursor = match last.body {
                Some(body) => {
                    let (txn_id, upto) = (last.txn_id, last.upto);
                    let messages = self.messages_of(&body, cursor, upto).await?;
                    let transaction = PreparedTransaction { txn_id, upto, body: body.into(), messages };
                    self.pending.lock().insert(Arc::clone(&key), transaction);
                    // It has something to get, whether or not the log has more.
                    cursor.min(position - 1)
                }
                None if last.upto > cursor => last.upto,
                None => continue,
            };
            behind.extend([destination(&key, cursor, stored)]);
        }
        Ok(Cursors { position, behind: behind.into_values().collect(), extras: Vec::new() })
    }

    async fn store_progress(&self, progress: Arc<Progress<ServiceId>>) -> Result<(), DbError> {
        let write = move |tx: &mut Tx<'_>| {
            let behind: Vec<(&str, Position)> = progress.behind.iter().map(|(id, at)| (&**id, *at)).collect();
            let caught_up: Vec<&str> = progress.caught_up.iter().map(|id| &**id).collect();
            app_service_out::set_progress(tx, progress.position, &behind, &caught_up)
        };
        self.db.write(write).await
    }

    fn committed(&self) -> Position {
        self.db.committed()
    }

    async fn read_log(&self, after: Position, upto: Position) -> Result<LogChunk<LogContent, ServiceIds>, DbError> {
        self.log.read(after, upto).await
    }

    async fn catch_up(&self, service: &ServiceId, after: Position, upto: Position) -> Result<Due<LogContent>, DbError> {
        self.log.catch_up(service, after, upto, MAX_ENTRIES).await
    }

    async fn deliver(&self, turn: &Turn<ServiceId, ServiceExtras>, due: Due<LogContent>) -> Outcome<ServiceExtras> {
        match self.try_to_deliver(turn, due).await {
            Ok(outcome) => outcome,
            Err(error) => {
                let retry = Retry::backoff(turn.failures, FIRST_RETRY, MAX_RETRY);
                if let Retry::After(pause) = retry {
                    let seconds = pause.as_secs();
                    tracing::warn!("the application service {} fails, and waits for {seconds} s: {error}", turn.key);
                }
                Outcome::Failed { error, retry }
            }
        }
    }

    fn failed(&self, _: &ServiceId, error: Box<dyn Error + Send + Sync>) -> Outcome<ServiceExtras> {
        Outcome::Failed { error, retry: Retry::After(FIRST_RETRY) }
    }

    async fn came_back(&self) -> CameBack<ServiceId> {
        match self.came_back.lock().await.recv().await {
            Some(key) => CameBack { key, is_up: true },
            // The server ends.
            None => std::future::pending().await,
        }
    }
}
