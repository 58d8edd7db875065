//! Changes presence as time passes, and publishes changes in batches.

use std::collections::BTreeSet;
use std::time::Duration;

use plexus_protocol::id::UserId;
use plexus_store::{DbError, Tx, repo};

use super::state::UserPresence;
use super::{Presence, stored};

/// Changes are published at most this often, however many there are.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

impl Presence {
    /// Lets users become idle and offline, publishes changes, and stores the last state. Never ends.
    pub async fn run(&self) {
        let mut published_at: Option<Duration> = None;
        loop {
            let wait = self.next_work(published_at);
            let changed = self.work.notified();
            match wait {
                None => changed.await,
                Some(Duration::ZERO) => {
                    self.expire();
                    if let Err(error) = self.publish().await {
                        tracing::warn!(%error, "cannot store presence");
                    }
                    published_at = Some(self.clock.monotonic());
                }
                Some(wait) => tokio::select! {
                    () = changed => {}
                    () = self.clock.sleep(wait) => {}
                },
            }
        }
    }

    /// Returns how long until there is something to do.
    fn next_work(&self, published_at: Option<Duration>) -> Option<Duration> {
        let pause =
            published_at.map_or(Duration::ZERO, |at| (at + PUBLISH_INTERVAL).saturating_sub(self.clock.monotonic()));
        let map = self.map.lock();
        if !map.dirty.is_empty() {
            return Some(pause);
        }
        let deadline = map.timer?;
        Some(Duration::from_millis(deadline.saturating_sub(self.clock.now_ms())).max(pause))
    }

    fn expire(&self) {
        let now = self.clock.now_ms();
        let mut serial = self.serial.begin();
        let mut map = self.map.lock();
        let changed: Vec<UserId> = map
            .users
            .iter_mut()
            .filter_map(|(user, presence)| presence.expire(&self.settings, now).then(|| user.clone()))
            .collect();
        for user in changed {
            map.log(serial.number(), user);
        }
        map.timer = map.users.values().filter_map(|user| user.deadline(&self.settings)).min();
    }

    async fn publish(&self) -> Result<(), DbError> {
        let changed: BTreeSet<UserId> = std::mem::take(&mut self.map.lock().dirty).into_iter().collect();
        if changed.is_empty() {
            return Ok(());
        }
        let published = self.publish_users(&changed).await;
        if published.is_err() {
            // They are published with the next ones.
            self.map.lock().dirty.extend(changed);
        }
        published
    }

    async fn publish_users(&self, changed: &BTreeSet<UserId>) -> Result<(), DbError> {
        self.restore_statuses(changed).await?;
        self.notifier.presence_changed(changed).await?;
        let rows: Vec<_> = {
            let map = self.map.lock();
            let local = |user: &&UserId| map.users.get(*user).is_some_and(UserPresence::is_local);
            let views = changed.iter().filter(local).filter_map(|user| Some((user, &map.users.get(user)?.view)));
            views.map(|(user, view)| stored(user, view)).collect()
        };
        self.db.write(move |tx| rows.iter().try_for_each(|row| repo::presence::set(tx, row))).await
    }

    /// Reads the status messages of users who are seen for the first time since the start.
    async fn restore_statuses(&self, users: &BTreeSet<UserId>) -> Result<(), DbError> {
        let unknown: Vec<UserId> = {
            let map = self.map.lock();
            let known = |user: &&UserId| map.users.get(*user).is_none_or(|presence| presence.status_known);
            users.iter().filter(|user| !known(user)).cloned().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let read = move |tx: &mut Tx<'_>| {
            unknown
                .into_iter()
                .map(|user| Ok((repo::presence::get(tx, user.as_str())?, user)))
                .collect::<Result<Vec<_>, DbError>>()
        };
        for (stored, user) in self.db.read(read).await? {
            if let Some(presence) = self.map.lock().users.get_mut(&user) {
                presence.restore_status(stored.and_then(|stored| stored.status_msg));
            }
        }
        Ok(())
    }
}
