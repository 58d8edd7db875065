//! Asks for lists of devices that are out of date, and again as long as their servers are away.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use plexus_net::FederationError;
use plexus_net::federation::api::device::get_devices;
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::repo::remote_devices::{self as repo, ToldList};
use plexus_store::{DbError, Tx};
use tokio::task::JoinSet;

use super::{MOST_AWAY, RemoteDevices, announce, told};

/// The most servers asked at once, and the most users in one go.
const SERVERS_AT_ONCE: usize = 16;
const USERS_AT_ONCE: u32 = 500;
/// How long to wait after the first failure, ms; twice as long after each more, up to the most.
const PAUSE: u64 = 30_000;
const LONGEST_PAUSE: u64 = 3_600_000;
/// How long to wait when the database fails.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

impl RemoteDevices {
    pub(super) async fn resync(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        let mut busy = HashSet::new();
        loop {
            let next_ms = match self.begin(&mut tasks, &mut busy).await {
                Ok(next_ms) => next_ms,
                Err(error) => {
                    tracing::warn!("devices of users of other servers are not asked for: {error}");
                    self.parts.clock.sleep(DATABASE_PAUSE).await;
                    continue;
                }
            };
            let wait = next_ms.map(|at| Duration::from_millis(at.saturating_sub(self.parts.clock.now_ms())));
            tokio::select! {
                () = self.outdated.notified() => {}
                Some(done) = tasks.join_next() => match done {
                    Ok(server) => _ = busy.remove(&server),
                    Err(_) => busy.clear(),
                },
                () = async { self.parts.clock.sleep(wait.unwrap_or_default()).await }, if wait.is_some() => {}
            }
        }
    }

    /// Begins with servers of which there is something to ask. Answers when there will be more, Unix ms.
    async fn begin(
        self: &Arc<Self>,
        tasks: &mut JoinSet<ServerName>,
        busy: &mut HashSet<ServerName>,
    ) -> Result<Option<u64>, DbError> {
        let now = self.parts.clock.now_ms();
        let read = move |tx: &mut Tx<'_>| Ok((repo::due(tx, now, USERS_AT_ONCE)?, repo::next_due(tx, now)?));
        let (due, next): (Vec<String>, Option<u64>) = self.parts.db.read::<_, DbError, _>(read).await?;
        let mut by_server: BTreeMap<ServerName, Vec<UserId>> = BTreeMap::new();
        for user in due.into_iter().filter_map(|user| UserId::try_from(user).ok()) {
            if let Ok(server) = ServerName::try_from(user.server_name()) {
                by_server.entry(server).or_default().push(user);
            }
        }
        for (server, users) in by_server {
            if busy.len() < SERVERS_AT_ONCE && busy.insert(server.clone()) {
                tasks.spawn(Arc::clone(self).resync_server(server, users));
            }
        }
        Ok(next)
    }

    async fn resync_server(self: Arc<Self>, server: ServerName, users: Vec<UserId>) -> ServerName {
        for user in users {
            if let Err(error) = self.resync_user(&server, &user).await {
                tracing::warn!("the devices of {user} stay out of date: {error}");
                self.parts.clock.sleep(DATABASE_PAUSE).await;
            }
        }
        server
    }

    async fn resync_user(&self, server: &ServerName, user: &UserId) -> Result<(), DbError> {
        let key = user.to_string();
        let list = self.parts.db.read(move |tx| repo::list(tx, &key)).await?;
        let Some(list) = list.filter(|list| list.ask_ts.is_some()) else { return Ok(()) };
        match self.ask_devices(server, user).await {
            Ok(told) => self.take_devices(user, told, list.revision).await,
            Err(error) => {
                tracing::info!("the devices of {user} cannot be had: {error}");
                self.put_off(server, user, list.failures, &error).await
            }
        }
    }

    async fn ask_devices(&self, server: &ServerName, user: &UserId) -> Result<ToldList, FederationError> {
        Ok(told::list(get_devices::call(&self.parts.client, server, user).await?))
    }

    async fn take_devices(&self, user: &UserId, told: ToldList, revision: i64) -> Result<(), DbError> {
        let (user, now) = (user.clone(), self.parts.clock.now_ms());
        let write = move |tx: &mut Tx<'_>| {
            // Forgotten meanwhile.
            let Some(list) = repo::list(tx, user.as_str())? else { return Ok(false) };
            // An update came meanwhile: the answer may be older.
            let outdated = list.revision != revision;
            repo::replace(tx, user.as_str(), &told, outdated.then_some(now))?;
            announce(tx, &user)?;
            Ok::<_, DbError>(outdated)
        };
        if self.parts.db.write(write).await? {
            self.outdated.notify_one();
        }
        Ok(())
    }

    async fn put_off(
        &self,
        server: &ServerName,
        user: &UserId,
        failures: u32,
        error: &FederationError,
    ) -> Result<(), DbError> {
        let pause = PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
        let now = self.parts.clock.now_ms();
        let at = match error {
            FederationError::BackingOff { until_ms, .. } => (*until_ms).clamp(now + 1_000, now + LONGEST_PAUSE),
            _ => now + pause,
        };
        let key = user.to_string();
        self.parts.db.write(move |tx| repo::put_off(tx, &key, at)).await?;
        let mut away = self.away.lock();
        let is_away = error.status().is_none_or(|status| status.is_server_error());
        if is_away && away.len() < MOST_AWAY {
            away.insert(server.clone());
        }
        Ok(())
    }
}
