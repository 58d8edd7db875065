//! Delivery of notifications to push gateways (push gateway API,
//! <https://spec.matrix.org/v1.19/push-gateway-api/>).
//!
//! - `owners`: the users who have pushers
//! - `changes`: collects what may have to be pushed, at no cost while nobody has a pusher
//! - `log`: the events of the log, with the users that they notify
//! - `pushers`: pushers as destinations of an [`Outbox`]; `badge` is what they get besides the log
//! - `send`, `notification`: sends a pusher what is due
//! - `gateways`: which gateways respond, and how many requests each gets at a time

mod badge;
mod changes;
mod gateways;
mod log;
mod notification;
mod owners;
mod pushers;
mod send;

use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_net::HttpClient;
use plexus_protocol::id::UserId;
use plexus_rooms::Rooms;
use plexus_store::{Database, DbError, Position, repo};
use plexus_sync::{Notifier, SettingsCache, UnreadCounts};

use crate::outbox::Outbox;
use badge::{BadgeUpdate, ShownBadges};
use changes::PushChanges;
use gateways::Gateways;
use log::PushLog;
use owners::PushOwners;
use pushers::{Pushers, SLOTS};
use send::PushSender;

pub use send::PushCounts;

/// How long the badges wait for more redactions: somebody may redact many messages, and each of them may be counted in
/// the badges of all members.
const REDACTIONS_DELAY: Duration = Duration::from_secs(1);
/// How long to wait when the database fails.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the configuration says about notifications.
#[derive(Debug, Clone, Copy)]
pub struct PushSettings {
    /// Whether notifications have the content of events.
    pub include_content: bool,
    /// Whether badges count rooms, instead of notifications.
    pub badge_counts_rooms: bool,
    /// The longest random delay of a notification.
    pub jitter: Duration,
    /// Whether apps may count by themselves (MSC4076).
    pub badges_by_app: bool,
}

/// The services that the delivery to push gateways uses.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct PushOutParts {
    pub db: Database,
    pub clock: Clock,
    pub random: Random,
    pub rooms: Arc<Rooms>,
    pub notifier: Arc<Notifier>,
    pub unread: Arc<UnreadCounts>,
    pub settings: Arc<SettingsCache>,
    pub http: Arc<HttpClient>,
    pub options: PushSettings,
}

/// Delivers to push gateways.
pub struct PushOut {
    clock: Clock,
    rooms: Arc<Rooms>,
    owners: Arc<PushOwners>,
    changes: Arc<PushChanges>,
    unread: Arc<UnreadCounts>,
    counts: Arc<PushCounts>,
    outbox: Arc<Outbox<Pushers>>,
}

impl PushOut {
    /// Continues where the last run of the program stopped, once [`Self::run`] runs. To be called before the first
    /// write.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(parts: PushOutParts) -> Result<Arc<Self>, DbError> {
        let PushOutParts { db, clock, random, rooms, notifier, unread, settings, http, options } = parts;
        let owners = Arc::new(PushOwners::new(db.clone()));
        let changes = Arc::new(PushChanges::new(Arc::clone(&owners), rooms.server_name().clone(), db.committed()));
        let log = PushLog {
            db: db.clone(),
            rooms: Arc::clone(&rooms),
            unread: Arc::clone(&unread),
            settings,
            owners: Arc::clone(&owners),
            changes: Arc::clone(&changes),
        };
        let (gateways, recovered) = Gateways::new(http);
        let counts = Arc::<PushCounts>::default();
        let sender = PushSender {
            db: db.clone(),
            clock: clock.clone(),
            random,
            notifier,
            log,
            gateways,
            settings: options,
            counts: Arc::clone(&counts),
            badges: ShownBadges::default(),
        };
        let recovered = tokio::sync::Mutex::new(recovered);
        let pushers = Pushers { db: db.clone(), owners: Arc::clone(&owners), sender, recovered };
        let outbox = Outbox::start(pushers, clock.clone(), SLOTS).await?;
        db.add_listener(&changes);
        Ok(Arc::new(Self { clock, rooms, owners, changes, unread, counts, outbox }))
    }

    /// Records that nothing is delivered in this run of the program: neither what the last one did not deliver, nor
    /// what is committed until pushes are on again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suspend(db: &Database) -> Result<(), DbError> {
        db.write(repo::pushers::suspend).await
    }

    /// Returns how much was sent.
    pub fn counts(&self) -> Arc<PushCounts> {
        Arc::clone(&self.counts)
    }

    /// Delivers, without end.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.follow(), self.follow_redactions(), Arc::clone(&self.outbox).run());
    }

    /// Starts no more deliveries, and waits a little for those under way.
    pub async fn stop(&self) {
        self.outbox.stop().await;
    }

    /// Writes how far every pusher has come, once [`Self::run`] has ended.
    pub async fn close(&self) {
        self.outbox.close().await;
    }

    /// Passes changes on to the outbox, without end; first what the last run of the program did not get to.
    async fn follow(&self) {
        loop {
            while let Err(error) = self.outbox.distribute().await {
                tracing::warn!("notifications wait: {error}");
                self.clock.sleep(DATABASE_RETRY_AFTER).await;
            }
            self.outbox.renew(&self.owners.take_changed());
            for reader in self.changes.take_readers() {
                self.update_badges(&reader, BadgeUpdate::Always);
            }
            self.outbox.wake();
            if self.owners.is_empty() {
                self.changes.pause();
            }
            self.changes.arrived().await;
        }
    }

    /// Updates the badges that count what was redacted or has expired, without end.
    async fn follow_redactions(&self) {
        loop {
            self.changes.redacted().await;
            self.clock.sleep(REDACTIONS_DELAY).await;
            for nid in self.changes.take_redacted() {
                // One that is not in memory has just been evicted: its badges wait for the next notification.
                let Some(room) = self.rooms.loaded(nid) else { continue };
                for member in self.owners.in_room(&room.view()) {
                    if self.unread.may_count(&member, nid) {
                        self.update_badges(&member, BadgeUpdate::IfKnown);
                    }
                }
            }
            self.outbox.wake();
        }
    }

    fn update_badges(&self, user: &UserId, kind: BadgeUpdate) {
        let mut pushers = self.owners.pushers(user, Position::MAX);
        if kind == BadgeUpdate::IfKnown {
            // Only a smaller number can come of it.
            let badges = &self.outbox.kind().sender.badges;
            pushers.retain(|key| badges.get(key).is_some_and(|badge| badge > 0));
        }
        self.outbox.add_ephemeral(pushers, |update| *update = kind.max(*update));
    }
}
