//! Media of other servers: fetched when somebody asks for it, and kept.

mod fetch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plexus_net::{FederationClient, FederationError};
use plexus_protocol::id::ServerName;
use plexus_store::repo::remote_media::{self, RemoteMedia};
use tokio::sync::watch;

use crate::multipart::NotMultipart;
use crate::paths;
use crate::store::{MediaError, MediaStore, OpenMedia, opened};
use crate::thumbnail::ThumbnailRequest;

/// Which media of which server.
type Key = (ServerName, String);
/// How a fetch went: nothing yet, or the media.
type Outcome = Option<Result<RemoteMedia, Arc<FetchError>>>;

/// Media of this server and of others.
pub struct Downloads {
    server_name: ServerName,
    local: Arc<MediaStore>,
    client: Arc<FederationClient>,
    /// Servers whose media is not fetched (`prevent_media_downloads_from`).
    refused: HashSet<String>,
    /// What is being fetched at the moment: whoever wants the same waits for it.
    running: Mutex<HashMap<Key, watch::Receiver<Outcome>>>,
}

/// Why media of another server can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The other server.
    #[error(transparent)]
    Server(#[from] FederationError),
    /// It answered with something else.
    #[error(transparent)]
    Answer(#[from] NotMultipart),
    /// The answer ended before the content did.
    #[error("the answer broke off")]
    BrokeOff,
    /// This side could not keep it.
    #[error(transparent)]
    Media(#[from] Box<MediaError>),
    /// The task that fetched it is gone.
    #[error("the fetch was given up")]
    Abandoned,
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
}

impl Downloads {
    /// Media of `server_name` from `local`, and of others through `client`, but for the servers in `refused`.
    pub fn new(
        server_name: ServerName,
        local: Arc<MediaStore>,
        client: Arc<FederationClient>,
        refused: HashSet<String>,
    ) -> Self {
        Self { server_name, local, client, refused, running: Mutex::default() }
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
            return self.local.thumbnail(wanted.media_id, request, wanted.timeout).await;
        }
        let (server, mut known) = self.remote(wanted).await?;
        let missing = !tokio::fs::try_exists(self.content_path(&server, &known)?).await.unwrap_or(false);
        if missing && wanted.allow_remote {
            known = self.fetched(server.clone(), wanted).await?;
        }
        let source = self.content_path(&server, &known)?;
        let thumbnails = paths::remote_thumbnails(self.local.folder(), server.as_str(), &known.file_id);
        self.local.thumbnail_of(source, thumbnails.ok_or(MediaError::NotFound)?, &known.content, request).await
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
        let mut outcome = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.entry(key.clone()).or_insert_with(|| self.start(key, wanted.timeout)).clone()
        };
        let done = outcome.wait_for(Option::is_some).await.map(|done| done.clone());
        let result = done.ok().flatten().unwrap_or(Err(Arc::new(FetchError::Abandoned)));
        result.map_err(MediaError::Fetch)
    }

    /// Fetches it in a task of its own: it goes on when the client who asked hangs up, for those who wait with it.
    fn start(self: &Arc<Self>, key: Key, timeout: Duration) -> watch::Receiver<Outcome> {
        let (sender, receiver) = watch::channel(None);
        let downloads = Arc::clone(self);
        tokio::spawn(async move {
            let result = downloads.fetch(&key, timeout).await.map_err(Arc::new);
            downloads.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            // Nobody may be left to hear it.
            let _ = sender.send(Some(result));
        });
        receiver
    }
}

/// Whether it can be in an mxc:// URI.
fn is_media_id(media_id: &str) -> bool {
    (1..=255).contains(&media_id.len())
        && media_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
