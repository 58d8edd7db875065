//! Queries device lists that are out of date, and again as long as their servers are unreachable.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use plexus_net::FederationError;
use plexus_net::federation::api::device::get_devices;
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::repo::remote_devices::{self as repo, RemoteDeviceList};
use plexus_store::{DbError, Tx};
use tokio::task::JoinSet;

use super::{MAX_UNREACHABLE, RemoteDevices, announce, received};

/// The most servers that are queried at the same time.
const MAX_SERVERS_AT_ONCE: usize = 16;
/// The most users that are queried in one step.
const MAX_USERS_PER_STEP: u32 = 500;
/// How long to wait after the first failure, in ms; twice as long after each more.
const FIRST_RETRY_MS: u64 = 30_000;
const MAX_RETRY_MS: u64 = 3_600_000;
/// How long to wait when the database fails.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Queries lists that are out of date.
pub(super) struct Resync(Arc<RemoteDevices>);

impl Resync {
    pub(super) fn new(devices: Arc<RemoteDevices>) -> Self {
        Self(devices)
    }

    /// Queries lists as they get out of date, without end.
    pub(super) async fn run(self) {
        let mut tasks = JoinSet::new();
        let mut busy = HashSet::new();
        loop {
            let next_ms = match self.begin(&mut tasks, &mut busy).await {
                Ok(next_ms) => next_ms,
                Err(error) => {
                    tracing::warn!("devices of users of other servers are not queried: {error}");
                    self.0.parts.clock.sleep(DATABASE_RETRY_AFTER).await;
                    continue;
                }
            };
            let wait = next_ms.map(|at| Duration::from_millis(at.saturating_sub(self.0.parts.clock.now_ms())));
            tokio::select! {
                () = self.0.outdated.notified() => {}
                Some(done) = tasks.join_next() => match done {
                    Ok(server) => _ = busy.remove(&server),
                    Err(_) => busy.clear(),
                },
                () = async { self.0.parts.clock.sleep(wait.unwrap_or_default()).await }, if wait.is_some() => {}
            }
        }
    }

    /// Starts to query servers of which lists are due. Returns when more will be due, Unix ms.
    async fn begin(
        &self,
        tasks: &mut JoinSet<ServerName>,
        busy: &mut HashSet<ServerName>,
    ) -> Result<Option<u64>, DbError> {
        let now = self.0.parts.clock.now_ms();
        let read = move |tx: &mut Tx<'_>| Ok((repo::due(tx, now, MAX_USERS_PER_STEP)?, repo::next_due(tx, now)?));
        let (due, next): (Vec<String>, Option<u64>) = self.0.parts.db.read::<_, DbError, _>(read).await?;
        let mut by_server: BTreeMap<ServerName, Vec<UserId>> = BTreeMap::new();
        for user in due.into_iter().filter_map(|user| UserId::try_from(user).ok()) {
            if let Ok(server) = ServerName::try_from(user.server_name()) {
                by_server.entry(server).or_default().push(user);
            }
        }
        for (server, users) in by_server {
            if busy.len() < MAX_SERVERS_AT_ONCE && busy.insert(server.clone()) {
                tasks.spawn(Self(Arc::clone(&self.0)).resync_server(server, users));
            }
        }
        Ok(next)
    }

    async fn resync_server(self, server: ServerName, users: Vec<UserId>) -> ServerName {
        for user in users {
            if let Err(error) = self.resync_user(&server, &user).await {
                tracing::warn!("the devices of {user} stay out of date: {error}");
                self.0.parts.clock.sleep(DATABASE_RETRY_AFTER).await;
            }
        }
        server
    }

    async fn resync_user(&self, server: &ServerName, user: &UserId) -> Result<(), DbError> {
        let key = user.to_string();
        let list = self.0.parts.db.read(move |tx| repo::list(tx, &key)).await?;
        let Some(list) = list.filter(|list| list.ask_ts.is_some()) else { return Ok(()) };
        match self.query_devices(server, user).await {
            Ok(received) => self.store_devices(user, received, list.revision).await,
            Err(error) => {
                tracing::info!("the devices of {user} cannot be queried: {error}");
                self.postpone(server, user, list.failures, &error).await
            }
        }
    }

    async fn query_devices(&self, server: &ServerName, user: &UserId) -> Result<RemoteDeviceList, FederationError> {
        Ok(received::list(get_devices::call(&self.0.parts.client, server, user).await?))
    }

    async fn store_devices(&self, user: &UserId, received: RemoteDeviceList, revision: i64) -> Result<(), DbError> {
        let (user, now) = (user.clone(), self.0.parts.clock.now_ms());
        let write = move |tx: &mut Tx<'_>| {
            // It has been deleted meanwhile.
            let Some(list) = repo::list(tx, user.as_str())? else { return Ok(false) };
            // An update came meanwhile: the response may be older.
            let outdated = list.revision != revision;
            repo::replace(tx, user.as_str(), &received, outdated.then_some(now))?;
            announce(tx, &user)?;
            Ok::<_, DbError>(outdated)
        };
        if self.0.parts.db.write(write).await? {
            self.0.outdated.notify_one();
        }
        Ok(())
    }

    async fn postpone(
        &self,
        server: &ServerName,
        user: &UserId,
        failures: u32,
        error: &FederationError,
    ) -> Result<(), DbError> {
        let pause = FIRST_RETRY_MS.saturating_mul(1 << failures.min(16)).min(MAX_RETRY_MS);
        let now = self.0.parts.clock.now_ms();
        let at = match error {
            FederationError::BackingOff { until_ms, .. } => (*until_ms).clamp(now + 1_000, now + MAX_RETRY_MS),
            _ => now + pause,
        };
        let key = user.to_string();
        self.0.parts.db.write(move |tx| repo::postpone(tx, &key, at)).await?;
        let mut unreachable = self.0.unreachable.lock();
        let is_unreachable = error.status().is_none_or(|status| status.is_server_error());
        if is_unreachable && unreachable.len() < MAX_UNREACHABLE {
            unreachable.insert(server.clone());
        }
        Ok(())
    }
}
