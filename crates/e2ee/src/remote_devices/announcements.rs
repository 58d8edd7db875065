//! Announcements that the devices of a user who is not tracked have changed. Each wakes everybody in the user's rooms:
//! the first few are made at once, further ones are merged into one a minute.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::id::UserId;
use plexus_store::{Database, DbError, Tx};
use tokio::sync::Notify;

use super::announce;

/// The most announcements of one user that are made at once within [`WINDOW`].
const MAX_AT_ONCE: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// The most users that are kept. Others are announced at once.
const MAX_USERS: usize = 10_000;
/// How long to wait when the database fails.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The users who were announced recently. Owned by [`super::RemoteDevices`]. An announcement that waits is lost when
/// the process ends: clients, which query devices again only when they are notified, learn of it with the next change.
#[derive(Default)]
pub(super) struct Announcements {
    recent: Mutex<HashMap<UserId, Recent>>,
    /// Notified when an announcement waits.
    waiting: Notify,
}

#[derive(Clone, Copy)]
struct Recent {
    /// On a clock that does not jump.
    ends: Duration,
    made: u32,
    waits: bool,
}

impl Announcements {
    /// Whether a user may be announced at `now`. Otherwise the announcement is made later.
    pub(super) fn begin(&self, user: &UserId, now: Duration) -> bool {
        let mut recent = self.recent.lock();
        if recent.len() >= MAX_USERS {
            recent.retain(|_, it| it.ends > now || it.waits);
        }
        if recent.len() >= MAX_USERS && !recent.contains_key(user) {
            return true;
        }
        let new = Recent { ends: now + WINDOW, made: 0, waits: false };
        let it = recent.entry(user.clone()).or_insert(new);
        if it.ends <= now && !it.waits {
            *it = new;
        }
        if it.made < MAX_AT_ONCE {
            it.made += 1;
            return true;
        }
        it.waits = true;
        drop(recent);
        self.waiting.notify_one();
        false
    }

    /// Takes the users whose announcements are due at `now`; returns them, and when the next ones are.
    fn take_due(&self, now: Duration) -> (Vec<UserId>, Option<Duration>) {
        let mut recent = self.recent.lock();
        let mut due = Vec::new();
        for (user, it) in recent.iter_mut().filter(|(_, it)| it.waits && it.ends <= now) {
            due.push(user.clone());
            *it = Recent { ends: now + WINDOW, made: MAX_AT_ONCE, waits: false };
        }
        let next = recent.values().filter(|it| it.waits).map(|it| it.ends).min();
        (due, next)
    }

    /// Announcements could not be made: they are due once more.
    fn put_back(&self, due: &[UserId], now: Duration) {
        let mut recent = self.recent.lock();
        for user in due {
            recent.insert(user.clone(), Recent { ends: now, made: MAX_AT_ONCE, waits: true });
        }
    }

    /// Makes the announcements that wait, without end.
    pub(super) async fn run(&self, db: &Database, clock: &Clock) {
        loop {
            let (due, next) = self.take_due(clock.monotonic());
            if !due.is_empty() {
                let due: Arc<[UserId]> = due.into();
                let users = Arc::clone(&due);
                let write = move |tx: &mut Tx<'_>| users.iter().try_for_each(|user| announce(tx, user));
                if let Err(error) = db.write::<_, DbError, _>(write).await {
                    tracing::warn!("changed devices of users of other servers are announced later: {error}");
                    self.put_back(&due, clock.monotonic());
                    clock.sleep(DATABASE_RETRY_AFTER).await;
                }
                continue;
            }
            let pause = next.map(|at| at.saturating_sub(clock.monotonic()));
            tokio::select! {
                () = self.waiting.notified() => {}
                () = async { clock.sleep(pause.unwrap_or_default()).await }, if pause.is_some() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_made_at_once_and_more_are_joined() {
        let announcements = Announcements::default();
        let user = UserId::try_from("@a:x").unwrap();
        let start = Duration::from_secs(100);
        let made = |at| (0..20).filter(|_| announcements.begin(&user, at)).count();
        assert_eq!(made(start), 5);
        assert_eq!(announcements.take_due(start), (Vec::new(), Some(start + WINDOW)));
        assert_eq!(announcements.take_due(start + WINDOW), (vec![user.clone()], None));
        // Announcements that could not be written are due at once.
        announcements.put_back(std::slice::from_ref(&user), start + WINDOW);
        assert_eq!(announcements.take_due(start + WINDOW), (vec![user.clone()], None));
        // Then it is one in each window, as long as they come.
        assert_eq!(made(start + WINDOW), 0);
        assert_eq!(announcements.take_due(start + WINDOW * 2), (vec![user.clone()], None));
        assert_eq!(made(start + WINDOW * 3), 5);
    }
}
