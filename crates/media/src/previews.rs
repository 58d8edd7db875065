//! Previews of links: what a page says of itself, as [Open Graph](https://ogp.me/) tags.
//!
//! | module | what it holds |
//! |---|---|
//! | `make` | from a URL to a preview: the page, what describes it, its image |
//! | `download` | requests, redirects, bounds |
//! | `budget` | how much is fetched for each user |
//! | [`page`](Page) | a page, read in one pass |
//! | `charset`, `data_url` | character sets; images within URLs |
//! | [`oembed`](Oembed) | sites that describe their pages in JSON |
//! | [`url_rules`](UrlRules) | URLs that are not previewed |
//! | `memory` | previews in memory |
//! | [`cleanup`](PreviewCleanup) | deletes previews that are not valid any more |

mod budget;
mod charset;
mod cleanup;
mod data_url;
mod download;
mod error;
mod make;
mod memory;
mod oembed;
mod page;
mod url_rules;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_net::{Gates, HttpClient};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Value;
use plexus_store::repo::url_previews::{self, UrlPreview};
use plexus_store::{Database, DbError, Tx};
use tokio::sync::{Semaphore, watch};

use download::PageDownloader;
use make::{Made, PreviewMaker};
use memory::{Outcome, PreviewMemory};

use crate::store::MediaStore;

pub use cleanup::PreviewCleanup;
pub use error::PreviewError;
pub use oembed::{Oembed, OembedProviders, ProvidersError};
pub use page::Page;
pub use url_rules::{UrlPatternError, UrlPatterns, UrlRules};

/// The most previews that are made at once.
const MAX_AT_ONCE: usize = 32;
/// The most previews that are made at once for one user.
const MAX_AT_ONCE_PER_USER: usize = 4;
/// The most previews that are made or wait; each is a task.
const MAX_WAITING: usize = 512;
/// The most of these for one user: the links on a screen of a client.
const MAX_WAITING_PER_USER: usize = 64;
/// How long a preview may wait to be made.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long it may take to make one.
const MAX_TIME: Duration = Duration::from_secs(90);
/// How long clients are asked to wait when there are too many, in ms.
const BUSY_RETRY_AFTER_MS: u64 = 5_000;
/// The most bytes of a URL that is previewed.
const MAX_URL_BYTES: usize = 8 * 1024;

/// Settings of previews.
#[derive(Debug, Default)]
pub struct PreviewSettings {
    /// Whether links are previewed.
    pub enabled: bool,
    /// URLs that are not.
    pub rules: UrlRules,
    /// Sites that describe their pages elsewhere.
    pub providers: OembedProviders,
    /// The languages in which pages are requested, as in `Accept-Language`.
    pub languages: Vec<String>,
    /// The largest content that is downloaded.
    pub max_bytes: u64,
}

/// The parts from which [`Previews`] are built.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct PreviewParts {
    pub server_name: ServerName,
    pub http: Arc<HttpClient>,
    pub database: Database,
    pub media: Arc<MediaStore>,
    pub tasks: Arc<dyn PreviewTasks>,
}

/// Schedules what is to be done with previews later.
pub trait PreviewTasks: Send + Sync {
    /// Has [`PreviewCleanup`] run some time after this, if the transaction commits.
    ///
    /// # Errors
    /// When the database fails.
    fn schedule_cleanup(&self, tx: &mut Tx<'_>) -> Result<(), DbError>;
}

/// How many previews clients were given since the start, and where they were from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviewCounts {
    /// Previews that were made.
    pub made: u64,
    /// Links of which there is no preview.
    pub failed: u64,
    /// Previews that had been made before.
    pub stored: u64,
}

/// Makes previews, and keeps them for as long as they are valid.
pub struct Previews {
    is_enabled: bool,
    maker: PreviewMaker,
    database: Database,
    clock: Clock,
    tasks: Arc<dyn PreviewTasks>,
    memory: PreviewMemory,
    /// The previews that are being made: all clients who ask for one wait for it. Owned by this process; another one
    /// makes its own.
    running: Mutex<HashMap<String, Running>>,
    turns: Semaphore,
    turns_of_user: Gates,
    made: AtomicU64,
    failed: AtomicU64,
    stored: AtomicU64,
}

/// A preview that is being made, or waits for that.
struct Running {
    user: UserId,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Previews {
    /// Creates the service.
    pub fn new(settings: PreviewSettings, parts: PreviewParts) -> Self {
        let PreviewSettings { enabled, rules, providers, languages, max_bytes } = settings;
        let PreviewParts { server_name, http, database, media, tasks } = parts;
        let clock = media.clock().clone();
        let downloader = PageDownloader::new(http, Arc::clone(&media), rules, &languages, max_bytes);
        Self {
            is_enabled: enabled,
            maker: PreviewMaker { server_name, downloader, media, providers, tasks: Arc::clone(&tasks) },
            database,
            memory: PreviewMemory::new(clock.clone()),
            clock,
            tasks,
            running: Mutex::default(),
            turns: Semaphore::new(MAX_AT_ONCE),
            turns_of_user: Gates::new(MAX_AT_ONCE_PER_USER),
            made: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stored: AtomicU64::new(0),
        }
    }

    /// Whether links are previewed.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Returns how many previews there were since the start.
    pub fn counts(&self) -> PreviewCounts {
        PreviewCounts {
            made: self.made.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            stored: self.stored.load(Ordering::Relaxed),
        }
    }

    /// Returns the preview of `url` at the time `at_ms` (Unix ms), as a JSON object. It is made now if there is none.
    ///
    /// # Errors
    /// See [`PreviewError`].
    pub async fn preview(self: &Arc<Self>, user: &UserId, url: &str, at_ms: Option<u64>) -> Outcome {
        if !self.is_enabled {
            return Err(PreviewError::Disabled);
        }
        if url.len() > MAX_URL_BYTES {
            return Err(PreviewError::NotAUrl);
        }
        let now_ms = self.clock.now_ms();
        let at_ms = at_ms.unwrap_or(now_ms).min(now_ms);
        let known = match self.memory.get(url, at_ms) {
            Some(known) => Some(known),
            None => self.read_stored(url, at_ms).await?.map(Ok),
        };
        if let Some(known) = known {
            let count = if known.is_ok() { &self.stored } else { &self.failed };
            count.fetch_add(1, Ordering::Relaxed);
            return known;
        }
        let mut outcome = self.running_or_begun(user, url)?;
        let done = outcome.wait_for(Option::is_some).await.map(|done| done.clone());
        done.ok().flatten().unwrap_or(Err(PreviewError::Abandoned))
    }

    async fn read_stored(&self, url: &str, at_ms: u64) -> Result<Option<Arc<str>>, PreviewError> {
        let key = url.to_owned();
        let stored = self.database.read(move |tx| url_previews::get(tx, &key, at_ms)).await?;
        let Some(UrlPreview { downloaded_ms, expires_ms, json }) = stored.filter(|stored| stored.expires_ms > at_ms)
        else {
            return Ok(None);
        };
        let json: Arc<str> = json.into();
        self.memory.set(url, &Ok(Arc::clone(&json)), downloaded_ms..expires_ms);
        Ok(Some(json))
    }

    fn running_or_begun(
        self: &Arc<Self>,
        user: &UserId,
        url: &str,
    ) -> Result<watch::Receiver<Option<Outcome>>, PreviewError> {
        let (sender, outcome) = watch::channel(None);
        let mut running = self.running.lock();
        if let Some(running) = running.get(url) {
            return Ok(running.outcome.clone());
        }
        self.maker.downloader.budget().check(user)?;
        let of_user = running.values().filter(|running| running.user == *user).count();
        if running.len() >= MAX_WAITING || of_user >= MAX_WAITING_PER_USER {
            return Err(PreviewError::Busy { retry_after_ms: BUSY_RETRY_AFTER_MS });
        }
        running.insert(url.to_owned(), Running { user: user.clone(), outcome: outcome.clone() });
        // A runtime that shuts down drops the task at once, and with it the entry, which locks the map.
        drop(running);
        let entry = Entry { previews: Arc::clone(self), url: url.to_owned() };
        let user = user.clone();
        // In a task of its own: it goes on when the client who asked hangs up, for others who wait for it.
        self.maker.media.background().spawn_abortable("preview of a link", async move {
            let outcome = entry.previews.make_in_turn(&user, &entry.url).await;
            // A client that gets the outcome and asks again must find this one removed.
            drop(entry);
            let _ = sender.send(Some(outcome));
        });
        Ok(outcome)
    }

    async fn make_in_turn(&self, user: &UserId, url: &str) -> Outcome {
        let turns = async {
            // One that waits holds only a permit of its own user.
            (self.turns_of_user.enter(user.as_str()).await, self.turns.acquire().await)
        };
        let _turns = tokio::select! {
            turns = turns => turns,
            () = self.clock.sleep(MAX_WAIT) => return Err(PreviewError::Busy { retry_after_ms: BUSY_RETRY_AFTER_MS }),
        };
        // Others of the same user have used it since this one began to wait.
        self.maker.downloader.budget().check(user)?;
        let downloaded_ms = self.clock.now_ms();
        let made = tokio::select! {
            made = self.maker.make(user, url) => made,
            () = self.clock.sleep(MAX_TIME) => Err(PreviewError::TooSlow),
        };
        let validity = made.as_ref().map_or(Duration::ZERO, |made| made.validity);
        let expires_ms = downloaded_ms.saturating_add(u64::try_from(validity.as_millis()).unwrap_or(u64::MAX));
        let outcome = match made {
            Ok(made) => self.store(url, made, downloaded_ms..expires_ms).await,
            Err(error) => Err(error),
        };
        let count = if outcome.is_ok() { &self.made } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &outcome {
            tracing::debug!("there is no preview of a link: {error}");
        }
        self.memory.set(url, &outcome, downloaded_ms..expires_ms);
        outcome
    }

    async fn store(&self, url: &str, made: Made, valid: Range<u64>) -> Outcome {
        let json = Value::Object(made.tags).to_json();
        let preview = UrlPreview { downloaded_ms: valid.start, expires_ms: valid.end, json: json.clone() };
        let (url, tasks) = (url.to_owned(), Arc::clone(&self.tasks));
        let stored = self.database.write(move |tx| {
            url_previews::add(tx, &url, &preview)?;
            tasks.schedule_cleanup(tx)
        });
        stored.await?;
        Ok(json.into())
    }
}

/// The entry of a preview that is being made, removed when dropped.
struct Entry {
    previews: Arc<Previews>,
    url: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.previews.running.lock().remove(&self.url);
    }
}
