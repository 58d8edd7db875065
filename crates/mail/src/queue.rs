//! Stored mail, and handing it to the mail server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plexus_base::Clock;
use plexus_net::HttpClient;
use plexus_net::smtp::{self, Envelope, SmtpServer};
use plexus_store::repo::mail_queue::{self, QueuedMail};
use plexus_store::{Database, DbError, Tx};

use crate::ComposedMail;

/// The most mails that wait: more than a mail server that is away for days leaves behind. Each is some ten kilobytes.
const MAX_QUEUED: u64 = 20_000;
/// How long a mail waits before it is tried again, at first and at most. In between, as long as it has waited already:
/// a server that greylists accepts it some minutes later.
const FIRST_RETRY: Duration = Duration::from_secs(60);
const MAX_RETRY: Duration = Duration::from_secs(3_600);

/// Makes the task that delivers a mail; the services above this crate have it.
pub trait MailTasks: Send + Sync {
    /// Schedules the delivery, in the transaction that stores the mail.
    ///
    /// # Errors
    /// When the database fails.
    fn schedule(&self, tx: &mut Tx<'_>, mail_id: &str, due_ms: u64) -> Result<(), DbError>;
}

/// The services that the queue uses.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct MailQueueParts {
    pub db: Database,
    pub clock: Clock,
    pub http: Arc<HttpClient>,
    pub server: SmtpServer,
    pub tasks: Arc<dyn MailTasks>,
}

/// How many mails were sent, since the start.
#[derive(Debug, Default)]
pub struct MailCounts {
    /// Mails that the mail server accepted.
    pub sent: AtomicU64,
    /// Attempts that failed, and are repeated.
    pub failed: AtomicU64,
    /// Mails that were given up.
    pub given_up: AtomicU64,
}

/// Why a mail is not queued.
#[derive(Debug, thiserror::Error)]
pub enum NotQueued {
    /// Too many mails wait.
    #[error("{MAX_QUEUED} mails wait for the mail server already")]
    Full,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Stores mail, and hands it to the mail server. A mail is delivered by a task of its own, which some process runs.
pub struct MailQueue {
    parts: MailQueueParts,
    counts: Arc<MailCounts>,
}

impl MailQueue {
    /// Creates the service.
    pub fn new(parts: MailQueueParts) -> Self {
        Self { parts, counts: Arc::default() }
    }

    /// Returns how many mails were sent.
    pub fn counts(&self) -> Arc<MailCounts> {
        Arc::clone(&self.counts)
    }

    /// Stores a mail, which is sent once the transaction commits. It is given up when it is not sent by `expires_ms`
    /// (Unix ms).
    ///
    /// # Errors
    /// See [`NotQueued`].
    pub fn add(&self, tx: &mut Tx<'_>, mail: ComposedMail, expires_ms: u64) -> Result<(), NotQueued> {
        self.require_space(tx)?;
        let created_ms = self.parts.clock.now_ms();
        let ComposedMail { id, sender, recipient, message } = mail;
        let mail = QueuedMail { mail_id: id, sender, recipient, message, created_ms, expires_ms };
        mail_queue::insert(tx, &mail)?;
        Ok(self.parts.tasks.schedule(tx, &mail.mail_id, created_ms)?)
    }

    /// Requires that another mail can be stored.
    ///
    /// # Errors
    /// See [`NotQueued`].
    pub fn require_space(&self, tx: &mut Tx<'_>) -> Result<(), NotQueued> {
        if mail_queue::count(tx)? < MAX_QUEUED { Ok(()) } else { Err(NotQueued::Full) }
    }

    /// Hands a mail to the mail server. Returns when to try again, unless it is sent or given up.
    ///
    /// A mail that was accepted just before the process ended is sent once more, with the same `Message-ID`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deliver(&self, mail_id: &str) -> Result<Option<Duration>, DbError> {
        let key = mail_id.to_owned();
        let Some(mail) = self.parts.db.read(move |tx| mail_queue::get(tx, &key)).await? else { return Ok(None) };
        let QueuedMail { sender, recipient, message, created_ms, expires_ms, .. } = &mail;
        if self.parts.clock.now_ms() > *expires_ms {
            tracing::error!("a mail to {recipient} is given up: it was not sent in time");
            return self.give_up(mail.mail_id).await;
        }
        let envelope = Envelope { sender, recipient, message };
        match smtp::deliver(&self.parts.http, &self.parts.server, envelope).await {
            Ok(()) => _ = self.counts.sent.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                let now_ms = self.parts.clock.now_ms();
                let wait = wait_after(Duration::from_millis(now_ms.saturating_sub(*created_ms)));
                let is_too_late = now_ms + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) > *expires_ms;
                if !error.is_permanent() && !is_too_late {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!("a mail to {recipient} waits for {} s: {error}", wait.as_secs());
                    return Ok(Some(wait));
                }
                tracing::error!("a mail to {recipient} is given up: {error}");
                return self.give_up(mail.mail_id).await;
            }
        }
        self.delete(mail.mail_id).await
    }

    async fn give_up(&self, mail_id: String) -> Result<Option<Duration>, DbError> {
        self.counts.given_up.fetch_add(1, Ordering::Relaxed);
        self.delete(mail_id).await
    }

    async fn delete(&self, mail_id: String) -> Result<Option<Duration>, DbError> {
        self.parts.db.write(move |tx| mail_queue::delete(tx, &mail_id)).await?;
        Ok(None)
    }
}

/// Returns how long a mail waits that has failed at this age.
fn wait_after(age: Duration) -> Duration {
    age.clamp(FIRST_RETRY, MAX_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow() {
        let mut age = Duration::ZERO;
        let mut waits = Vec::new();
        while age < Duration::from_secs(6 * 3_600) {
            let wait = wait_after(age);
            waits.push(wait.as_secs() / 60);
            age += wait;
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
    }
}
