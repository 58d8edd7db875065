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
use crate::damaged::without_damaged;
use crate::outbox::{Due, Outcome, Retry, Turn};

/// The most notifications of one turn: then it is the turn of others.
const MAX_NOTIFICATIONS: usize = 20;
/// How long to wait before a notification is tried again, at first and at most. As in Synapse.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(3_600);
/// Once a pusher has failed for so long, what is older than this is not pushed: the user has seen it elsewhere, or it
/// matters no more. Nor is the first notification, whatever its date: its content may be why the gateway refuses it.
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

/// What a gateway is sent.
struct Notification {
    body: String,
    /// The badge in it.
    badge: Option<u64>,
    /// The time since the event, by its own date.
    age: Duration,
}

/// What a notification about an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// What the pusher asks for.
    OfPusher,
    /// Only which event it is.
    IdsOnly,
}

type PushTurn = Turn<Arc<PusherKey>, BadgeUpdate>;
type PushOutcome = Outcome<BadgeUpdate>;

impl PushSender {
    /// Sends what is due. A notification that the gateway does not accept is the first of the next turn.
    pub(super) async fn send(&self, turn: &PushTurn, due: Due<PushedEvent>) -> Result<PushOutcome, SendError> {
        let Some(target) = self.target(&turn.key).await? else { return Ok(Outcome::Abandoned) };
        let gives_up = turn.failing_for.is_some_and(|time| time > MAX_AGE);
        let (mut has_given_up, mut sent, mut cursor) = (false, 0, turn.cursor);
        for (position, event) in &due.entries {
            if sent == MAX_NOTIFICATIONS {
                return Ok(Outcome::Delivered { cursor, remaining: turn.extras });
            }
            if *position > target.pusher.since
                && let Some(notification) =
                    self.notification(turn, &target, (*position, *event), Form::OfPusher).await?
            {
                if gives_up && (!has_given_up || notification.age > MAX_AGE) {
                    has_given_up = true;
                } else {
                    match self.notify_of(turn, &target, (*position, *event), notification).await {
                        Ok(false) => {
                            self.counts.sent.fetch_add(1, Ordering::Relaxed);
                            turn.reached(*position);
                        }
                        Ok(true) => return self.rejected(&turn.key).await,
                        Err(SendError::Notify(error)) => {
                            let has_progressed = sent > 0 || has_given_up;
                            return Ok(self.not_sent(turn, has_progressed.then_some(cursor), error));
                        }
                        Err(error) => return Err(error),
                    }
                    sent += 1;
                }
            }
            cursor = cursor.max(*position);
        }
        // What waited while it failed may need no notification any more, but changed the badge.
        if sent == 0 && (turn.extras != BadgeUpdate::None || turn.was_away) {
            match self.update_badge(turn, &target).await {
                Ok(false) => {}
                Ok(true) => return self.rejected(&turn.key).await,
                Err(SendError::Notify(error)) if turn.was_away && !gives_up => return Ok(failed(turn, error)),
                Err(SendError::Notify(error)) => tracing::debug!("{} was not sent its badge: {error}", turn.key),
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::Delivered { cursor: due.upto, remaining: BadgeUpdate::None })
    }

    /// Forgets a pusher that nothing is to be sent to.
    pub(super) fn forget(&self, key: &Arc<PusherKey>) {
        self.gateways.forget(key);
        self.badges.forget(key);
    }

    /// Sends the notification about an event: once more with nothing that others wrote if that may be why the gateway
    /// refuses it, so that one message cannot stop all later ones. Returns whether the gateway rejects the pusher.
    async fn notify_of(
        &self,
        turn: &PushTurn,
        target: &Target,
        entry: (Position, PushedEvent),
        notification: Notification,
    ) -> Result<bool, SendError> {
        let error = match self.notify(&turn.key, target, notification).await {
            Err(error) if error.may_be_of_content() => error,
            sent => return Ok(sent?),
        };
        tracing::debug!("{} is notified without the content of an event: {error}", turn.key);
        match self.notification(turn, target, entry, Form::IdsOnly).await? {
            Some(notification) => Ok(self.notify(&turn.key, target, notification).await?),
            None => Err(error.into()),
        }
    }

    /// Sends a notification or a badge. Returns whether the gateway rejects the pusher.
    async fn notify(
        &self,
        key: &Arc<PusherKey>,
        target: &Target,
        notification: Notification,
    ) -> Result<bool, NotifyError> {
        let Notification { body, badge, .. } = notification;
        let sent = self.gateways.notify(key, &target.url, body).await;
        if let Some(badge) = badge.filter(|badge| Some(*badge) != self.badges.get(key)) {
            // Without a response it is not known which badge is shown.
            if sent.is_ok() { self.badges.set(key, badge) } else { self.badges.forget(key) }
        }
        sent
    }

    /// Returns the outcome of a turn in which not everything was sent; something was if there is a `cursor`.
    fn not_sent(&self, turn: &PushTurn, cursor: Option<Position>, error: NotifyError) -> PushOutcome {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        match cursor {
            Some(cursor) => Outcome::Delivered { cursor, remaining: turn.extras },
            None => failed(turn, error),
        }
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

    /// Returns the notification about an event, unless it needs none any more.
    async fn notification(
        &self,
        turn: &PushTurn,
        target: &Target,
        (position, event): (Position, PushedEvent),
        form: Form,
    ) -> Result<Option<Notification>, DbError> {
        let lost = || format!("{} is not notified of the event at position {position}", turn.key);
        without_damaged(lost, self.try_notification(turn, target, (position, event), form)).await
    }

    async fn try_notification(
        &self,
        turn: &PushTurn,
        target: &Target,
        (position, event): (Position, PushedEvent),
        form: Form,
    ) -> Result<Option<Notification>, DbError> {
        let user = &turn.key.user;
        let Some(SeenEvent { room, event }) = self.log.seen_by(user, event.room, position).await? else {
            return Ok(None);
        };
        let Some(actions) = self.log.unread.unread_actions(user, &room, &event).await? else { return Ok(None) };
        if form == Form::OfPusher {
            self.jitter(event.pdu.origin_server_ts()).await;
        }
        let badge = self.badge(&turn.key, target).await?;
        let age = Duration::from_millis(self.clock.now_ms().saturating_sub(event.pdu.origin_server_ts()));
        let notification = EventNotification { user, room: &room, event: &event, actions: &actions, badge };
        let (pusher, data, include_content) = (&target.pusher, &target.data, self.settings.include_content);
        let body = match form {
            Form::OfPusher => notification.body(pusher, data, &self.log.rooms, include_content).await?,
            Form::IdsOnly => notification.ids(pusher, data),
        };
        Ok(Some(Notification { body, badge, age }))
    }

    /// Sends the badge if the app shows another one. Returns whether the gateway rejects the pusher.
    async fn update_badge(&self, turn: &PushTurn, target: &Target) -> Result<bool, SendError> {
        let shown = self.badges.get(&turn.key);
        if shown.is_none() && turn.extras == BadgeUpdate::IfKnown && !turn.was_away {
            return Ok(false);
        }
        let Some(badge) = self.badge(&turn.key, target).await?.filter(|badge| Some(*badge) != shown) else {
            return Ok(false);
        };
        let body = badge_body(&target.pusher, &target.data, badge);
        let notification = Notification { body, badge: Some(badge), age: Duration::ZERO };
        let sent = self.notify(&turn.key, target, notification).await;
        let count = if sent.is_ok() { &self.counts.badges_sent } else { &self.counts.badges_failed };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(sent?)
    }

    /// Returns the badge; `None` if the app counts by itself.
    async fn badge(&self, key: &Arc<PusherKey>, target: &Target) -> Result<Option<u64>, DbError> {
        if self.settings.badges_by_app && target.data.disables_badge {
            return Ok(None);
        }
        let (rooms, index) = (&self.log.rooms, self.notifier.index());
        self.log.unread.badge(&key.user, rooms, index, self.settings.badge_counts_rooms).await.map(Some)
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

/// Returns the outcome of a turn in which nothing was sent.
fn failed(turn: &PushTurn, error: NotifyError) -> PushOutcome {
    Outcome::Failed { error: error.into(), retry: Retry::backoff(turn.failures, FIRST_RETRY, MAX_RETRY) }
}
