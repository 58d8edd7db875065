//! Media of other servers: fetched when a client asks for it, and stored.

mod budget;
mod failures;
mod fetch;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_net::{FederationClient, Gates};
use plexus_protocol::id::ServerName;
use plexus_store::DbError;
use plexus_store::repo::media_files::MediaFile;
use plexus_store::repo::remote_media::{self, RemoteMedia};
use tokio::sync::{Semaphore, watch};

use budget::{Charge, DownloadBudget};
use failures::Failures;

use crate::error::{FetchError, MediaError};
use crate::settings::DownloadSettings;
use crate::store::{MediaHead, MediaStore, OpenMedia};
use crate::thumbnail::ThumbnailRequest;

pub use budget::Downloader;

/// The most fetches in progress from one server: a slow one does not delay the others.
const FETCHES_PER_SERVER: usize = 6;
/// The most fetches in progress for one downloader: those of four slow servers.
const FETCHES_PER_DOWNLOADER: usize = 24;
/// The most fetches in progress: each holds a file and the unread part of a response.
const MAX_FETCHES: usize = 64;
/// The most fetches that are in progress or wait; each is a task.
const MAX_WAITING: usize = 1024;
/// The most of these for one downloader: as many images as a client may want to show at once.
const MAX_WAITING_PER_DOWNLOADER: usize = 128;
/// How long a fetch may wait to begin.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long clients are asked to wait when there are too many fetches, in ms.
const BUSY_RETRY_AFTER_MS: u64 = 5_000;
/// How long a fetch may take once it has begun: 50 MiB, the largest file by default, at 170 KiB/s.
const MAX_FETCH_TIME: Duration = Duration::from_secs(300);
/// How often a fetch is tried again when the budget of the downloader who began it runs out, but not that of another
/// who waits for it.
const MAX_RESTARTS: usize = 4;

/// A server, and the id of its media.
type Key = (ServerName, String);
/// The outcome of a fetch; `None` while it is in progress.
type Outcome = Option<Result<RemoteMedia, Arc<FetchError>>>;

/// Media of this server and of others.
pub struct Downloads {
    server_name: ServerName,
    local: Arc<MediaStore>,
    client: Arc<FederationClient>,
    refused: HashSet<String>,
    /// The fetches in progress: all clients who want the same media wait for one.
    running: Mutex<HashMap<Key, Running>>,
    budget: DownloadBudget,
    failures: Failures,
    /// One permit for each fetch in progress.
    turns: Semaphore,
    turns_of_server: Gates,
    turns_of_downloader: Gates,
    /// Limits by server and downloader.
    turns_of_both: Gates,
}

/// A fetch that is in progress or waits.
struct Running {
    downloader: String,
    outcome: watch::Receiver<Outcome>,
}

/// A request for media.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The server in the mxc:// URI.
    pub server_name: &'a str,
    /// The id in the mxc:// URI.
    pub media_id: &'a str,
    /// How long to wait for content that is still being uploaded.
    pub timeout: Duration,
    /// Whether it may be fetched from another server.
    pub allow_remote: bool,
    /// The client who asks for it.
    pub downloader: &'a Downloader,
}

impl Downloads {
    /// Creates the service: media of `server_name` comes from `local`, that of other servers through `client`.
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

    /// Returns the headers of the content. Its file need not be in the folder, and is not brought back.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn head(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<MediaHead, MediaError> {
        if wanted.server_name == self.server_name.as_str() {
            return self.local.head(wanted.media_id, wanted.timeout).await;
        }
        let (_, known) = self.remote(wanted).await?;
        Ok(MediaHead::new(&known.content))
    }

    /// Returns the content, opened.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn get(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<OpenMedia, MediaError> {
        if wanted.server_name == self.server_name.as_str() {
            return self.local.get(wanted.media_id, wanted.timeout).await;
        }
        let (server, known) = self.remote(wanted).await?;
        match self.local.open_file(&file(&server, &known), &known.content).await {
            // The file was deleted from the folder, or a storage provider that has it fails.
            Err(MediaError::NotFound | MediaError::Storage(_)) if wanted.allow_remote => {
                let known = self.fetched(server.clone(), wanted).await?;
                self.local.open_file(&file(&server, &known), &known.content).await
            }
            open => open,
        }
    }

    /// Returns a part of the content, opened at its first byte, with the headers of the whole.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn part(self: &Arc<Self>, wanted: Wanted<'_>, part: Range<u64>) -> Result<OpenMedia, MediaError> {
        if wanted.server_name == self.server_name.as_str() {
            return self.local.part(wanted.media_id, wanted.timeout, part).await;
        }
        let (server, known) = self.remote(wanted).await?;
        match self.local.open_part(&file(&server, &known), &known.content, part.clone()).await {
            Err(MediaError::NotFound | MediaError::Storage(_)) if wanted.allow_remote => {
                let known = self.fetched(server.clone(), wanted).await?;
                self.local.open_part(&file(&server, &known), &known.content, part).await
            }
            open => open,
        }
    }

    /// Returns a thumbnail, which this server makes of the content.
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
        let (server, known) = self.remote(wanted).await?;
        let asker = wanted.downloader.name();
        match self.local.thumbnail_of(&file(&server, &known), &known.content, request, &asker).await {
            Err(MediaError::NotFound | MediaError::Storage(_)) if wanted.allow_remote => {
                let known = self.fetched(server.clone(), wanted).await?;
                self.local.thumbnail_of(&file(&server, &known), &known.content, request, &asker).await
            }
            made => made,
        }
    }

    /// Returns the stored description of another server's media, which is fetched first if necessary.
    async fn remote(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<(ServerName, RemoteMedia), MediaError> {
        let server = ServerName::try_from(wanted.server_name).map_err(|_| MediaError::NotFound)?;
        if self.refused.contains(wanted.server_name) || !is_media_id(wanted.media_id) {
            return Err(MediaError::NotFound);
        }
        let (name, media_id) = (server.clone(), wanted.media_id.to_owned());
        let known = self.local.database().read(move |tx| remote_media::get(tx, name.as_str(), &media_id)).await;
        if let Some(known) = known.map_err(MediaError::Database)? {
            self.local.note_access(&file(&server, &known), known.last_access_ms);
            return Ok((server, known));
        }
        if !wanted.allow_remote {
            return Err(MediaError::NotFound);
        }
        let known = self.fetched(server.clone(), wanted).await?;
        Ok((server, known))
    }

    /// Fetches the media, or waits for the fetch that is in progress.
    async fn fetched(self: &Arc<Self>, server: ServerName, wanted: Wanted<'_>) -> Result<RemoteMedia, MediaError> {
        let key = (server, wanted.media_id.to_owned());
        let mut restarts = 0;
        loop {
            let (began, result) = self.outcome(&key, wanted).await;
            match &result {
                // The downloader who began this fetch has no budget left; this one may have.
                Err(error)
                    if !began && matches!(**error, FetchError::LimitExceeded { .. }) && restarts < MAX_RESTARTS =>
                {
                    restarts += 1;
                }
                _ => return result.map_err(MediaError::Fetch),
            }
        }
    }

    /// Waits for the fetch of `key`. Returns whether this call began it, and its outcome.
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

    /// Fetches the media in a task of its own: it continues when the client who asked hangs up, for others who wait for
    /// it.
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
            // A client that gets the outcome and asks again must find this fetch removed.
            drop(charge);
            drop(entry);
            // Maybe nobody waits for it any more.
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
            // A fetch that waits holds only permits of its own downloader and server, but for the last: so a downloader
            // with slow fetches takes no permit of a server that others want, and one slow server takes no more of a
            // downloader's permits than it can use.
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

    /// Returns the media if another fetch of it ended after this one was requested.
    async fn fetched_meanwhile(&self, (server, media_id): &Key) -> Option<RemoteMedia> {
        let (name, id) = (server.clone(), media_id.clone());
        let known = self.local.database().read(move |tx| remote_media::get(tx, name.as_str(), &id)).await;
        let known = known.unwrap_or_else(|error: DbError| {
            tracing::warn!("mxc://{server}/{media_id} is not looked up: {error}");
            None
        })?;
        let path = self.local.path(&file(server, &known)).ok()?;
        tokio::fs::try_exists(path).await.unwrap_or(false).then_some(known)
    }
}

fn file(server: &ServerName, media: &RemoteMedia) -> MediaFile {
    MediaFile::remote(server.as_str(), &media.file_id)
}

/// The entry of a fetch in progress, removed when dropped.
struct Entry {
    downloads: Arc<Downloads>,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.downloads.running.lock().remove(&self.key);
    }
}

/// Whether a text can be the media id of an mxc:// URI.
fn is_media_id(media_id: &str) -> bool {
    (1..=255).contains(&media_id.len())
        && media_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
