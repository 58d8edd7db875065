//! Sends what is due to one pusher.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plexus_base::{Clock, Random};
use plexus_net::push_gateway::PushGatewayUrl;
use plexus_store::repo::pushers::{self, Pusher, PusherKey};
use plexus_store::{Database, DbError, Position};
use plexus_sync::Notifier;

use super::PushSettings;
use super::badge::{BadgeUpdate, ShownBadges};
use super::gateways::{Gateways, NotifyError};
use super::log::{PushLog, PushedEvent, SeenEvent};
use super::notification::{EventNotification, PusherData, badge_body};
use crate::outbox::{Due, Outcome, Retry, Turn};

/// The most notifications of one turn: then it is the turn of others.
const MAX_NOTIFICATIONS: usize = 20;
/// How long to wait before a notification is tried again, at first and at most. As in Synapse.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(3_600);
/// What is older than this when the gateway responds again is not pushed: the user has seen it elsewhere, or it matters
/// no more. As in Synapse.
const MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

/// How many notifications and badges were sent, since the start.
#[derive(Debug, Default)]
pub struct PushCounts {
    /// Notifications that gateways accepted.
    pub sent: AtomicU64,
    /// Attempts to send a notification that failed.
    pub failed: AtomicU64,
    /// Updates of badges that gateways accepted.
    pub badges_sent: AtomicU64,
    /// Updates of badges that were not sent.
    pub badges_failed: AtomicU64,
}

/// Sends notifications.
pub(super) struct PushSender {
    pub(super) db: Database,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) notifier: Arc<Notifier>,
    pub(super) log: PushLog,
    pub(super) gateways: Gateways,
    pub(super) settings: PushSettings,
    pub(super) counts: Arc<PushCounts>,
    pub(super) badges: ShownBadges,
}

/// Why what was due has not been sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

/// A pusher with the address of its gateway.
struct Target {
    pusher: Pusher,
    url: PushGatewayUrl,
    data: PusherData,
}

type PushTurn = Turn<Arc<PusherKey>, BadgeUpdate>;
type PushOutcome = Outcome<BadgeUpdate>;

impl PushSender {
    /// Sends what is due. A notification that the gateway does not accept is the first of the next turn.
    pub(super) async fn send(&self, turn: &PushTurn, due: Due<PushedEvent>) -> Result<PushOutcome, SendError> {
        let Some(target) = self.target(&turn.key).await? else { return Ok(Outcome::Abandoned) };
        let mut cursor = turn.cursor;
        let mut sent = 0;
        for (position, event) in &due.entries {
            if sent == MAX_NOTIFICATIONS {
                return Ok(Outcome::Delivered { cursor, remaining: turn.extras });
            }
            if *position > target.pusher.since
                && let Some(body) = self.notification(turn, &target, *event, *position).await?
            {
                match self.gateways.notify(&turn.key, &target.url, body).await {
                    Ok(false) => _ = self.counts.sent.fetch_add(1, Ordering::Relaxed),
                    Ok(true) => return self.rejected(&turn.key).await,
                    Err(error) => return self.not_sent(turn, cursor, error),
                }
                sent += 1;
            }
            cursor = cursor.max(*position);
        }
        if sent == 0 && turn.extras != BadgeUpdate::None && self.update_badge(turn, &target).await? {
            return self.rejected(&turn.key).await;
        }
        Ok(Outcome::Delivered { cursor: due.upto, remaining: BadgeUpdate::None })
    }

    /// Returns the outcome of a turn in which not everything was sent.
    fn not_sent(&self, turn: &PushTurn, cursor: Position, error: NotifyError) -> Result<PushOutcome, SendError> {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        if cursor > turn.cursor {
            return Ok(Outcome::Delivered { cursor, remaining: turn.extras });
        }
        Ok(Outcome::Failed { error: error.into(), retry: Retry::backoff(turn.failures, FIRST_RETRY, MAX_RETRY) })
    }

    async fn rejected(&self, key: &Arc<PusherKey>) -> Result<PushOutcome, SendError> {
        tracing::info!("{key} is deleted: its push gateway rejects it");
        let deleted = Arc::clone(key);
        self.db.write(move |tx| pushers::delete(tx, &deleted)).await?;
        Ok(Outcome::Abandoned)
    }

    /// Returns a pusher as the database has it now; `None` if nothing is to be sent to it.
    async fn target(&self, key: &Arc<PusherKey>) -> Result<Option<Target>, DbError> {
        let read = Arc::clone(key);
        let pusher = self.db.read(move |tx| pushers::get(tx, &read)).await?;
        let Some(pusher) = pusher.filter(|pusher| pusher.enabled && pusher.kind == "http") else { return Ok(None) };
        let Some((url, data)) = PusherData::parse(&pusher.data) else { return Ok(None) };
        let Ok(url) = PushGatewayUrl::try_from(url.as_str()) else { return Ok(None) };
        Ok(Some(Target { pusher, url, data }))
    }

    /// Returns the body of a notification, unless the event needs none any more.
    async fn notification(
        &self,
        turn: &PushTurn,
        target: &Target,
        event: PushedEvent,
        position: Position,
    ) -> Result<Option<String>, DbError> {
        let user = &turn.key.user;
        let Some(SeenEvent { room, event }) = self.log.seen_by(user, event.room, position).await? else {
            return Ok(None);
        };
        let age_ms = self.clock.now_ms().saturating_sub(event.pdu.origin_server_ts());
        if turn.was_away && Duration::from_millis(age_ms) > MAX_AGE {
            return Ok(None);
        }
        let Some(actions) = self.log.unread.unread_actions(user, &room, &event).await? else { return Ok(None) };
        self.jitter(event.pdu.origin_server_ts()).await;
        let badge = self.badge(&turn.key, target).await?;
        let notification = EventNotification { user, room: &room, event: &event, actions: &actions, badge };
        let include_content = self.settings.include_content;
        notification.body(&target.pusher, &target.data, &self.log.rooms, include_content).await.map(Some)
    }

    /// Sends the badge if the app shows another one. Returns whether the gateway rejects the pusher. A badge that the
    /// gateway does not accept is not sent again.
    async fn update_badge(&self, turn: &PushTurn, target: &Target) -> Result<bool, DbError> {
        let shown = self.badges.get(&turn.key);
        if shown.is_none() && turn.extras == BadgeUpdate::IfKnown {
            return Ok(false);
        }
        let Some(badge) = self.badge(&turn.key, target).await?.filter(|badge| Some(*badge) != shown) else {
            return Ok(false);
        };
        let body = badge_body(&target.pusher, &target.data, badge);
        match self.gateways.notify(&turn.key, &target.url, body).await {
            Ok(rejected) => {
                self.counts.badges_sent.fetch_add(1, Ordering::Relaxed);
                Ok(rejected)
            }
            Err(error) => {
                self.counts.badges_failed.fetch_add(1, Ordering::Relaxed);
                self.badges.forget(&turn.key);
                tracing::debug!("{} was not sent its badge: {error}", turn.key);
                Ok(false)
            }
        }
    }

    /// Returns the badge, which the app is about to show; `None` if it counts by itself.
    async fn badge(&self, key: &Arc<PusherKey>, target: &Target) -> Result<Option<u64>, DbError> {
        if self.settings.badges_by_app && target.data.disables_badge {
            return Ok(None);
        }
        let (rooms, index) = (&self.log.rooms, self.notifier.index());
        let badge = self.log.unread.badge(&key.user, rooms, index, self.settings.badge_counts_rooms).await?;
        self.badges.set(key, badge);
        Ok(Some(badge))
    }

    /// Waits, if configured, until a random time after an event was sent. Notifications that have waited already, one
    /// for the other, wait no longer.
    async fn jitter(&self, sent_ts: u64) {
        let max_ms = u64::try_from(self.settings.jitter.as_millis()).unwrap_or(u64::MAX);
        if max_ms > 0 {
            let delay = self.random.below(max_ms);
            let wait = sent_ts.saturating_add(delay).saturating_sub(self.clock.now_ms()).min(max_ms);
            self.clock.sleep(Duration::from_millis(wait)).await;
        }
    }
}
