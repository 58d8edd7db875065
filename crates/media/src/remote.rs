//! Media of other servers: fetched when somebody asks for it, and kept.

mod budget;
mod failures;
mod fetch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_net::{FederationClient, Gates};
use plexus_protocol::id::ServerName;
use plexus_store::DbError;
use plexus_store::repo::remote_media::{self, RemoteMedia};
use tokio::sync::{Semaphore, watch};

use budget::{Charge, DownloadBudget};
use failures::Failures;

use crate::error::{FetchError, MediaError};
use crate::paths;
use crate::settings::DownloadSettings;
use crate::store::{MediaStore, OpenMedia, opened};
use crate::thumbnail::ThumbnailRequest;

pub use budget::Downloader;

/// Fetches under way at once from one server: a slow one does not hold up the others.
const FETCHES_PER_SERVER: usize = 6;
/// Fetches under way at once for one downloader: those of four slow servers.
const FETCHES_PER_DOWNLOADER: usize = 24;
/// Fetches under way at once, for all: each holds a file and what is unread of an answer.
const MAX_FETCHES: usize = 64;
/// Fetches that may be under way or wait for their turn; each is a task.
const MAX_WAITING: usize = 1024;
/// Of these, those of one downloader: as many images as a client may want to show at once.
const MAX_WAITING_PER_DOWNLOADER: usize = 128;
/// How long a fetch may wait for its turn: then others have theirs.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a client is asked to wait when there are too many.
const BUSY_RETRY_AFTER_MS: u64 = 5_000;
/// How long a fetch may take once its turn has come: 50 MiB, the largest file by default, at 170 KiB/s.
const MAX_FETCH_TIME: Duration = Duration::from_secs(300);
/// How often a fetch is tried again that ended because another downloader's budget did.
const MAX_RESTARTS: usize = 4;

/// Which media of which server.
type Key = (ServerName, String);
/// How a fetch went: nothing yet, or the media.
type Outcome = Option<Result<RemoteMedia, Arc<FetchError>>>;

/// Media of this server and of others.
pub struct Downloads {
    server_name: ServerName,
    local: Arc<MediaStore>,
    client: Arc<FederationClient>,
    refused: HashSet<String>,
    /// What is being fetched at the moment: whoever wants the same waits for it.
    running: Mutex<HashMap<Key, Running>>,
    budget: DownloadBudget,
    failures: Failures,
    /// One turn for each fetch under way.
    turns: Semaphore,
    turns_of_server: Gates,
    turns_of_downloader: Gates,
    /// By server and downloader.
    turns_of_both: Gates,
}

/// A fetch under way, or waiting for its turn.
struct Running {
    downloader: String,
    outcome: watch::Receiver<Outcome>,
}

/// What somebody wants to download.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The server in the mxc:// URI.
    pub server_name: &'a str,
    /// The id in the mxc:// URI.
    pub media_id: &'a str,
    /// How long to wait for content that is still being uploaded.
    pub timeout: Duration,
    /// Whether to fetch it from another server if need be.
    pub allow_remote: bool,
    /// Who wants it.
    pub downloader: &'a Downloader,
}

impl Downloads {
    /// Media of `server_name` from `local`, and of others through `client`.
    pub fn new(
        server_name: ServerName,
        local: Arc<MediaStore>,
        client: Arc<FederationClient>,
        settings: DownloadSettings,
    ) -> Self {
        let clock = local.clock().clone();
        let budget = DownloadBudget::new(clock.clone(), settings.bytes_per_second, settings.burst_bytes);
        Self {
            server_name,
            local,
            client,
            refused: settings.refused,
            running: Mutex::default(),
            budget,
            failures: Failures::new(clock),
            turns: Semaphore::new(MAX_FETCHES),
            turns_of_server: Gates::new(FETCHES_PER_SERVER),
            turns_of_downloader: Gates::new(FETCHES_PER_DOWNLOADER),
            turns_of_both: Gates::new(FETCHES_PER_SERVER),
        }
    }

    /// The content.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn get(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<OpenMedia, MediaError> {
        if wanted.server_name == self.server_name.as_str() {
            return self.local.get(wanted.media_id, wanted.timeout).await;
        }
        let (server, known) = self.remote(wanted).await?;
        let path = self.content_path(&server, &known)?;
        match opened(&path, &known.content).await {
            // Somebody has cleaned up the folder.
            Err(MediaError::NotFound) if wanted.allow_remote => {
                let known = self.fetched(server.clone(), wanted).await?;
                opened(&self.content_path(&server, &known)?, &known.content).await
            }
            open => open,
        }
    }

    /// A thumbnail, made here.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn thumbnail(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        request: ThumbnailRequest,
    ) -> Result<OpenMedia, MediaError> {
        if wanted.server_name == self.server_name.as_str() {
            return self.local.thumbnail(wanted.media_id, request, wanted.timeout, &wanted.downloader.name()).await;
        }
        let (server, mut known) = self.remote(wanted).await?;
        let missing = !tokio::fs::try_exists(self.content_path(&server, &known)?).await.unwrap_or(false);
        if missing && wanted.allow_remote {
            known = self.fetched(server.clone(), wanted).await?;
        }
        let source = self.content_path(&server, &known)?;
        let thumbnails = paths::remote_thumbnails(self.local.folder(), server.as_str(), &known.file_id);
        let (thumbnails, asker) = (thumbnails.ok_or(MediaError::NotFound)?, wanted.downloader.name());
        self.local.thumbnail_of(source, thumbnails, &known.content, request, &asker).await
    }

    fn content_path(&self, server: &ServerName, known: &RemoteMedia) -> Result<std::path::PathBuf, MediaError> {
        paths::remote_content(self.local.folder(), server.as_str(), &known.file_id).ok_or(MediaError::NotFound)
    }

    /// What is known of the media of another server, which is fetched if it was not yet.
    async fn remote(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<(ServerName, RemoteMedia), MediaError> {
        let server = ServerName::try_from(wanted.server_name).map_err(|_| MediaError::NotFound)?;
        if self.refused.contains(wanted.server_name) || !is_media_id(wanted.media_id) {
            return Err(MediaError::NotFound);
        }
        let (name, media_id) = (server.clone(), wanted.media_id.to_owned());
        let known = self.local.database().read(move |tx| remote_media::get(tx, name.as_str(), &media_id)).await;
        if let Some(known) = known.map_err(MediaError::Database)? {
            return Ok((server, known));
        }
        if !wanted.allow_remote {
            return Err(MediaError::NotFound);
        }
        let known = self.fetched(server.clone(), wanted).await?;
        Ok((server, known))
    }

    /// Fetches it, or waits for the fetch that is under way.
    async fn fetched(self: &Arc<Self>, server: ServerName, wanted: Wanted<'_>) -> Result<RemoteMedia, MediaError> {
        let key = (server, wanted.media_id.to_owned());
        let mut restarts = 0;
        loop {
            let (began, result) = self.outcome(&key, wanted).await;
            match &result {
                // The one whose fetch this was may fetch no more: we may.
                Err(error)
                    if !began && matches!(**error, FetchError::LimitExceeded { .. }) && restarts < MAX_RESTARTS =>
                {
                    restarts += 1;
                }
                _ => return result.map_err(MediaError::Fetch),
            }
        }
    }

    /// How the fetch of `key` went, and whether it was begun here.
    async fn outcome(self: &Arc<Self>, key: &Key, wanted: Wanted<'_>) -> (bool, Result<RemoteMedia, Arc<FetchError>>) {
        let (began, mut outcome) = match self.running_or_begun(key, wanted) {
            Ok(running) => running,
            Err(error) => return (true, Err(Arc::new(error))),
        };
        let done = outcome.wait_for(Option::is_some).await.map(|done| done.clone());
        (began, done.ok().flatten().unwrap_or(Err(Arc::new(FetchError::Abandoned))))
    }

    fn running_or_begun(
        self: &Arc<Self>,
        key: &Key,
        wanted: Wanted<'_>,
    ) -> Result<(bool, watch::Receiver<Outcome>), FetchError> {
        let downloader = wanted.downloader.name();
        let (sender, outcome) = watch::channel(None);
        let mut running = self.running.lock();
        if let Some(running) = running.get(key) {
            return Ok((false, running.outcome.clone()));
        }
        if let Some(failure) = self.failures.get(key) {
            return Err(FetchError::Before(failure));
        }
        let of_downloader = running.values().filter(|running| running.downloader == downloader).count();
        if running.len() >= MAX_WAITING || of_downloader >= MAX_WAITING_PER_DOWNLOADER {
            return Err(FetchError::LimitExceeded { retry_after_ms: BUSY_RETRY_AFTER_MS });
        }
        self.budget.check(wanted.downloader)?;
        running.insert(key.clone(), Running { downloader, outcome: outcome.clone() });
        // A runtime that shuts down drops the task at once, and with it the entry, which locks the map.
        drop(running);
        self.begin(key.clone(), wanted.timeout, wanted.downloader.clone(), sender);
        Ok((true, outcome))
    }

    /// Fetches it in a task of its own: it goes on when the client who asked hangs up, for those who wait with it.
    fn begin(self: &Arc<Self>, key: Key, timeout: Duration, downloader: Downloader, sender: watch::Sender<Outcome>) {
        let entry = Entry { downloads: Arc::clone(self), key };
        self.local.background().spawn_abortable("download of media", async move {
            let (downloads, key) = (&entry.downloads, &entry.key);
            let mut charge = downloads.budget.charge(&downloader);
            let result = downloads.fetch_in_turn(key, timeout, &downloader.name(), &mut charge).await;
            match &result {
                Ok(_) => downloads.failures.forget(key),
                Err(error) => downloads.failures.remember(key, error),
            }
            // Whoever hears of the outcome and asks again finds the end of it.
            drop(charge);
            drop(entry);
            // Nobody may be left to hear it.
            let _ = sender.send(Some(result.map_err(Arc::new)));
        });
    }

    async fn fetch_in_turn(
        &self,
        key: &Key,
        timeout: Duration,
        downloader: &str,
        charge: &mut Charge<'_>,
    ) -> Result<RemoteMedia, FetchError> {
        let turn = async {
            // Who waits holds only what is its own, but for the last: a downloader whose fetches are slow takes no turn
            // of a server that others want, and one slow server takes no more of a downloader's turns than it could
            // use.
            let of_both = self.turns_of_both.enter(&format!("{} {downloader}", key.0)).await;
            let of_downloader = self.turns_of_downloader.enter(downloader).await;
            let of_server = self.turns_of_server.enter(key.0.as_str()).await;
            (of_both, of_downloader, of_server, self.turns.acquire().await)
        };
        let clock = self.local.clock();
        let _turn = tokio::select! {
            turn = turn => turn,
            () = clock.sleep(MAX_WAIT) => {
                return Err(FetchError::LimitExceeded { retry_after_ms: BUSY_RETRY_AFTER_MS });
            }
        };
        if let Some(known) = self.fetched_meanwhile(key).await {
            return Ok(known);
        }
        tokio::select! {
            result = self.fetch(key, timeout, charge) => result,
            () = clock.sleep(MAX_FETCH_TIME) => Err(FetchError::TooSlow),
        }
    }

    /// The media when another fetch of it ended after this one was asked for.
    async fn fetched_meanwhile(&self, (server, media_id): &Key) -> Option<RemoteMedia> {
        let (name, id) = (server.clone(), media_id.clone());
        let known = self.local.database().read(move |tx| remote_media::get(tx, name.as_str(), &id)).await;
        let known = known.unwrap_or_else(|error: DbError| {
            tracing::warn!("mxc://{server}/{media_id} is not looked up: {error}");
            None
        })?;
        let path = self.content_path(server, &known).ok()?;
        tokio::fs::try_exists(path).await.unwrap_or(false).then_some(known)
    }
}

/// The place of a fetch among those that are running, until it is dropped.
struct Entry {
    downloads: Arc<Downloads>,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.downloads.running.lock().remove(&self.key);
    }
}

/// Whether it can be in an mxc:// URI.
fn is_media_id(media_id: &str) -> bool {
    (1..=255).contains(&media_id.len())
        && media_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
