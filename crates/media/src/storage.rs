//! The storages of media files: the folder of the media store, and storage providers beside it, which keep copies.
//!
//! What a provider has to store or to delete is a row, written in the transaction that stores or forgets the media, and
//! done by a scheduled task for each storage: one that cannot be reached does not delay the others.
//!
//! - `file_system`: a folder
//! - `parts`: reading parts of files
//! - `s3`: a bucket of an S3 server

mod file_system;
mod parts;
mod s3;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plexus_base::config::{S3Location, StorageLocation};
use plexus_base::{Background, Clock, KeyedLocks};
use plexus_net::HttpClient;
use plexus_store::repo::media::Content;
use plexus_store::repo::media_files::{self, FileAction, MediaFile};
use plexus_store::{Database, DbError, Tx};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::error::{StorageError, UploadError};
use crate::paths;
use crate::space::Storing;
use crate::upload::{UploadFolder, move_file};

use file_system::FileSystem;
use s3::S3;

pub(crate) use parts::OpenPart;

/// The name of the media store's folder among the storages.
pub const FOLDER: &str = "";

/// How many files are read from the queue at once.
const QUEUE_PAGE: u32 = 50;
/// How long to wait after a storage has failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// How long to wait for a file that is not in the folder: one that is lost is looked for again and again.
const MISSING_RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// How many files may fail one after the other before the storage is left alone for that long.
const MAX_FAILURES_IN_A_ROW: u32 = 3;
/// How long an upload waits for a provider with `store_synchronous`; then the scheduled task goes on.
const SYNCHRONOUS_TIMEOUT: Duration = Duration::from_secs(20);
/// The number of locks for files, of each storage.
const FILE_LOCKS: usize = 64;
/// The most files that are sent to one provider, or fetched from it, at the same time, with up to 8 MiB of memory each.
const MAX_TRANSFERS_PER_PROVIDER: usize = 4;
/// The most uploads that are being stored in one provider, or wait for it, besides the scheduled task: each is a task.
const MAX_SYNCHRONOUS_PER_PROVIDER: usize = 64;

/// Makes scheduled tasks for storages: `service` implements it.
pub trait FileTasks: Send + Sync {
    /// Makes a task that calls [`Storages::run_queue`] for `storage` at `due_ms` (Unix ms) or earlier, if this
    /// transaction commits.
    ///
    /// # Errors
    /// When the database fails.
    fn schedule(&self, tx: &mut Tx<'_>, storage: &str, due_ms: u64) -> Result<(), DbError>;
}

/// A storage provider of the configuration.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Where it stores files.
    pub location: StorageLocation,
    /// Whether uploads of local users are stored there.
    pub store_local: bool,
    /// Whether media of other servers is stored there.
    pub store_remote: bool,
    /// Whether an upload waits until it is stored there.
    pub store_synchronous: bool,
}

/// All storages. The rows that say what they have to do belong to the whole server, as scheduled tasks do.
pub struct Storages {
    folder: PathBuf,
    providers: Vec<Provider>,
    database: Database,
    clock: Clock,
    background: Background,
    tasks: Arc<dyn FileTasks>,
    /// Locks files that are brought back to the folder, or deleted from it: one that is deleted is not brought back.
    files: KeyedLocks,
    /// The space for parts of files that clients are reading.
    space_for_parts: Arc<Semaphore>,
}

/// The parts from which [`Storages`] are built.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct StoragesParts {
    pub http: Arc<HttpClient>,
    pub database: Database,
    pub clock: Clock,
    pub background: Background,
    pub tasks: Arc<dyn FileTasks>,
}

struct Provider {
    name: String,
    backend: Backend,
    store_local: bool,
    store_remote: bool,
    store_synchronous: bool,
    transfers: Semaphore,
    /// One permit for each upload that it stores synchronously.
    synchronous: Arc<Semaphore>,
    /// Locks files that are stored there or deleted.
    files: KeyedLocks,
}

enum Backend {
    FileSystem(FileSystem),
    S3(Box<S3>),
}

impl Storages {
    /// Creates the storages: the folder of the media store and `providers`.
    pub fn new(folder: &Path, providers: Vec<ProviderSettings>, parts: StoragesParts) -> Self {
        let StoragesParts { http, database, clock, background, tasks } = parts;
        let provider = |settings: ProviderSettings| {
            let name = name(&settings.location);
            let backend = match settings.location {
                StorageLocation::Folder(root) => {
                    Backend::FileSystem(FileSystem::new(root, name.clone(), database.clone()))
                }
                StorageLocation::S3(s3) => Backend::S3(Box::new(S3::new(s3, Arc::clone(&http), clock.clone()))),
            };
            Provider {
                name,
                backend,
                store_local: settings.store_local,
                store_remote: settings.store_remote,
                store_synchronous: settings.store_synchronous,
                transfers: Semaphore::new(MAX_TRANSFERS_PER_PROVIDER),
                synchronous: Arc::new(Semaphore::new(MAX_SYNCHRONOUS_PER_PROVIDER)),
                files: KeyedLocks::new(FILE_LOCKS),
            }
        };
        let providers = providers.into_iter().map(provider).collect();
        Self {
            folder: folder.to_owned(),
            providers,
            database,
            clock: clock.clone(),
            background,
            tasks,
            files: KeyedLocks::new(FILE_LOCKS),
            space_for_parts: Arc::new(Semaphore::new(parts::MAX_UNITS)),
        }
    }

    /// Returns the names of the storages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(FOLDER).chain(self.providers.iter().map(|provider| provider.name.as_str()))
    }

    /// Has the providers store a file, if the transaction commits.
    pub(crate) fn queue_storing(&self, tx: &mut Tx<'_>, file: &MediaFile) -> Result<(), DbError> {
        let now_ms = self.clock.now_ms();
        for provider in self.providers.iter().filter(|provider| provider.stores(file)) {
            // Who waits for it does it, and the task only if that fails.
            let patience = if provider.store_synchronous { SYNCHRONOUS_TIMEOUT } else { Duration::ZERO };
            let due_ms = now_ms.saturating_add(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
            media_files::enqueue(tx, &provider.name, std::slice::from_ref(file), FileAction::Store, due_ms)?;
            self.tasks.schedule(tx, &provider.name, due_ms)?;
        }
        Ok(())
    }

    /// Has all storages delete files and their thumbnails, if the transaction commits.
    pub(crate) fn queue_deletion(&self, tx: &mut Tx<'_>, files: &[MediaFile]) -> Result<(), DbError> {
        if files.is_empty() {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        for storage in self.names() {
            media_files::enqueue(tx, storage, files, FileAction::Delete, now_ms)?;
            self.tasks.schedule(tx, storage, now_ms)?;
        }
        Ok(())
    }

    /// Waits until the providers with `store_synchronous` have stored a file, within bounds. The transfers go on after
    /// that, also when the caller is cancelled.
    pub(crate) async fn store_synchronously(self: &Arc<Self>, file: &MediaFile) {
        let transfers: Vec<_> =
            self.providers.iter().filter_map(|provider| self.begin_synchronous(provider, file)).collect();
        if transfers.is_empty() {
            return;
        }
        let all = async {
            for transfer in transfers {
                // One that was aborted is repeated by the scheduled task.
                let _ = transfer.await;
            }
        };
        tokio::select! {
            () = all => {}
            () = self.clock.sleep(SYNCHRONOUS_TIMEOUT) => tracing::warn!("an upload was not stored in time: {file:?}"),
        }
    }

    /// Begins to store a file, if an upload waits for `provider` and not too many do.
    fn begin_synchronous(self: &Arc<Self>, provider: &Provider, file: &MediaFile) -> Option<JoinHandle<()>> {
        if !provider.store_synchronous || !provider.stores(file) {
            return None;
        }
        let permit = Arc::clone(&provider.synchronous).try_acquire_owned().ok()?;
        let (storages, name, file) = (Arc::clone(self), provider.name.clone(), file.clone());
        Some(self.background.spawn_abortable("storing of an upload", async move {
            if let Err(error) = storages.run_one(&name, &file, FileAction::Store).await {
                tracing::warn!(storage = name, "an upload was not stored at once: {error}");
            }
            drop(permit);
        }))
    }

    /// Does what is due in a storage. Returns when the next thing is due, in Unix ms.
    ///
    /// # Errors
    /// When the database fails. Failures of the storage are logged, and repeated later.
    pub async fn run_queue(&self, storage: &str) -> Result<Option<u64>, DbError> {
        if !self.names().any(|name| name == storage) {
            return Ok(None);
        }
        let mut failures_in_a_row = if self.abort_earlier(storage).await { 0 } else { MAX_FAILURES_IN_A_ROW };
        while failures_in_a_row < MAX_FAILURES_IN_A_ROW {
            let (name, now_ms) = (storage.to_owned(), self.clock.now_ms());
            let due = self.database.read(move |tx| media_files::due(tx, &name, now_ms, QUEUE_PAGE)).await?;
            if due.is_empty() {
                break;
            }
            for (file, action) in due {
                match self.run_one(storage, &file, action).await {
                    Ok(()) => failures_in_a_row = 0,
                    Err(StorageError::Database(error)) => return Err(error),
                    Err(error @ StorageError::Missing(_)) => {
                        tracing::warn!(storage, "media cannot be stored: {error}");
                        self.postpone(storage, file, MISSING_RETRY_INTERVAL).await?;
                    }
                    Err(error) => {
                        failures_in_a_row += 1;
                        let storage = if storage.is_empty() { "media_store_path" } else { storage };
                        tracing::warn!(storage, ?action, "media is not up to date in this storage: {error}");
                        self.postpone(storage, file, RETRY_INTERVAL).await?;
                    }
                }
                if failures_in_a_row >= MAX_FAILURES_IN_A_ROW {
                    break;
                }
            }
        }
        let name = storage.to_owned();
        let next_ms = self.database.read(move |tx| media_files::next_due(tx, &name)).await?;
        let retry_ms = self.clock.now_ms().saturating_add(RETRY_INTERVAL.as_secs() * 1_000);
        let failing = failures_in_a_row >= MAX_FAILURES_IN_A_ROW;
        Ok(if failing { Some(next_ms.map_or(retry_ms, |next_ms| next_ms.max(retry_ms))) } else { next_ms })
    }

    /// Deletes what an earlier process has stored in part in a bucket. Returns false if that is to be tried again.
    async fn abort_earlier(&self, storage: &str) -> bool {
        let provider = self.providers.iter().find(|provider| provider.name == storage);
        let Some(Backend::S3(bucket)) = provider.map(|provider| &provider.backend) else { return true };
        let aborted = bucket.abort_earlier().await;
        if let Err(error) = &aborted {
            tracing::warn!(storage, "unfinished uploads are not deleted yet: {error}");
        }
        aborted.is_ok()
    }

    async fn postpone(&self, storage: &str, file: MediaFile, interval: Duration) -> Result<(), DbError> {
        let due_ms = self.clock.now_ms().saturating_add(interval.as_secs() * 1_000);
        let storage = storage.to_owned();
        self.database.write(move |tx| media_files::postpone(tx, &storage, &file, due_ms)).await
    }

    async fn run_one(&self, storage: &str, file: &MediaFile, action: FileAction) -> Result<(), StorageError> {
        let provider = self.providers.iter().find(|provider| provider.name == storage);
        let _turn = match provider {
            Some(provider) => Some(provider.files.lock(file).await),
            None => None,
        };
        let (name, queued) = (storage.to_owned(), file.clone());
        // Who had the lock before may have done it.
        if !self.database.read(move |tx| media_files::is_queued(tx, &name, &queued, action)).await? {
            return Ok(());
        }
        match (provider, action) {
            (Some(provider), FileAction::Store) => self.store(provider, file).await?,
            (Some(provider), FileAction::Delete) => self.delete(&provider.backend, file).await?,
            (None, FileAction::Delete) if storage == FOLDER => {
                let _turn = self.files.lock(file).await;
                let (content, thumbnails) = places(&self.folder, file)?;
                // In this order: a thumbnail that is being made is deleted when its source is gone.
                file_system::delete_file(&content).await?;
                file_system::delete_folder(&thumbnails).await?;
            }
            (None, _) => {}
        }
        let (storage, file) = (storage.to_owned(), file.clone());
        Ok(self.database.write(move |tx| media_files::done(tx, &storage, &file, action)).await?)
    }

    async fn store(&self, provider: &Provider, file: &MediaFile) -> Result<(), StorageError> {
        let (source, _) = places(&self.folder, file)?;
        if !self.is_wanted(file, &source).await? {
            return Ok(());
        }
        let _permit = provider.transfers.acquire().await;
        match &provider.backend {
            Backend::FileSystem(folder) => folder.store(file, &source).await,
            Backend::S3(bucket) => bucket.store(&key(file)?, &source).await,
        }
    }

    /// Whether a file is still to be stored by the providers. It is in the folder then, at `path`.
    async fn is_wanted(&self, file: &MediaFile, path: &Path) -> Result<bool, StorageError> {
        let failed = |error| StorageError::Io { path: path.to_owned(), error };
        let _turn = self.files.lock(file).await;
        if tokio::fs::try_exists(path).await.map_err(failed)? {
            return Ok(true);
        }
        let known = file.clone();
        if !self.database.read(move |tx| media_files::is_in_use(tx, &known)).await? {
            return Ok(false);
        }
        if file.server_name.is_none() {
            // An upload is moved to its place after its row is written.
            let upload = paths::incoming(&self.folder).join(paths::upload_name(&file.file_id));
            if move_file(&upload, path).await.is_ok() || tokio::fs::try_exists(path).await.map_err(failed)? {
                return Ok(true);
            }
        }
        Err(StorageError::Missing(path.to_owned()))
    }

    async fn delete(&self, backend: &Backend, file: &MediaFile) -> Result<(), StorageError> {
        match backend {
            Backend::FileSystem(folder) => folder.delete(file).await,
            Backend::S3(bucket) => bucket.delete(&key(file)?, &thumbnails_key(file)?).await,
        }
    }

    /// Whether there are storages besides the folder.
    pub(crate) fn has_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Brings a file back to the folder from the first provider that has it. Returns whether it is in the folder.
    pub(crate) async fn restore(
        &self,
        file: &MediaFile,
        content: &Content,
        uploads: &UploadFolder,
    ) -> Result<bool, StorageError> {
        let (target, _) = places(&self.folder, file)?;
        let _turn = self.files.lock(file).await;
        if tokio::fs::try_exists(&target).await.unwrap_or(false) {
            return Ok(true);
        }
        let known = file.clone();
        if !self.database.read(move |tx| media_files::is_in_use(tx, &known)).await? {
            return Ok(false);
        }
        let storing = if file.server_name.is_none() { Storing::Upload } else { Storing::Copy };
        let mut failure = None;
        for provider in &self.providers {
            let _permit = provider.transfers.acquire().await;
            // The limit for uploads may have been higher.
            let mut upload = uploads.begin_with_limit(storing, content.length).await?;
            let fetched = match &provider.backend {
                Backend::FileSystem(folder) => folder.fetch(file, &mut upload).await,
                Backend::S3(bucket) => bucket.fetch(&key(file)?, content.length, &mut upload).await,
            };
            match fetched {
                Ok(true) if upload.sha256() == content.sha256 => {
                    upload.keep_as(&target).await?;
                    return Ok(true);
                }
                Ok(true) | Err(StorageError::Upload(UploadError::TooLarge { .. })) => {
                    tracing::error!(storage = provider.name, "{file:?} is damaged there");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(storage = provider.name, "media could not be fetched from this storage: {error}");
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(false), Err)
    }

    /// Schedules the tasks of the storages that have something to do, and of all buckets, where uploads may be
    /// unfinished. Logs those that are not configured any more. Called at the start of the server.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedule_all(self: &Arc<Self>) -> Result<(), DbError> {
        for (storage, count) in self.database.read(media_files::queue_lengths).await? {
            if self.names().any(|name| name == storage) {
                let (storages, now_ms) = (Arc::clone(self), self.clock.now_ms());
                self.database.write(move |tx| storages.tasks.schedule(tx, &storage, now_ms)).await?;
            } else {
                tracing::warn!(
                    storage,
                    count,
                    "files are to be stored in or deleted from a storage that media_storage_providers does not name"
                );
            }
        }
        for provider in self.providers.iter().filter(|provider| matches!(provider.backend, Backend::S3(_))) {
            let (storages, storage, now_ms) = (Arc::clone(self), provider.name.clone(), self.clock.now_ms());
            self.database.write(move |tx| storages.tasks.schedule(tx, &storage, now_ms)).await?;
        }
        Ok(())
    }
}

impl Provider {
    fn stores(&self, file: &MediaFile) -> bool {
        if file.server_name.is_none() { self.store_local } else { self.store_remote }
    }
}

/// Returns the name under which the database knows a provider.
fn name(location: &StorageLocation) -> String {
    match location {
        StorageLocation::Folder(folder) => format!("file_system {}", folder.display()),
        StorageLocation::S3(S3Location { endpoint_url, bucket, prefix, .. }) => {
            format!("s3 {} {bucket}/{prefix}", endpoint_url.as_deref().unwrap_or("amazonaws.com"))
        }
    }
}

/// Returns the file and the folder of its thumbnails below `root`.
fn places(root: &Path, file: &MediaFile) -> Result<(PathBuf, PathBuf), StorageError> {
    let places = paths::content_of(root, file).zip(paths::thumbnails_of(root, file));
    places.ok_or_else(|| StorageError::BadName(file.clone()))
}

/// Returns the path of the content below the root of a storage.
fn key(file: &MediaFile) -> Result<String, StorageError> {
    let (content, _) = places(Path::new(""), file)?;
    content.into_os_string().into_string().map_err(|_| StorageError::BadName(file.clone()))
}

/// Returns the path of the folder of its thumbnails, with a slash at the end.
fn thumbnails_key(file: &MediaFile) -> Result<String, StorageError> {
    let (_, thumbnails) = places(Path::new(""), file)?;
    let path = thumbnails.into_os_string().into_string().map_err(|_| StorageError::BadName(file.clone()))?;
    Ok(path + "/")
}
