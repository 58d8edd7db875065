//! Fetching media, from the authenticated endpoint or, from older servers, the one without authentication
//! (server-server API, "Content Repository").

use std::sync::Arc;
use std::time::Duration;

use plexus_net::federation::api::media::Bounds;
use plexus_net::federation::api::{self, authenticated_media};
use plexus_net::{Limits, Purpose, StreamedResponse};
use plexus_store::repo::media_files::MediaFile;
use plexus_store::repo::remote_media::{self, RemoteMedia};

use super::budget::Charge;
use super::{Downloads, Key};
use crate::error::{FetchError, MediaError, UploadError};
use crate::multipart::{Multipart, NotMultipart, Piece};
use crate::serving;
use crate::store::MediaOrigin;
use crate::upload::{Description, Upload};

/// The most bytes of a multipart response besides the content.
const MAX_AROUND: usize = 128 * 1024;

/// The content of a response, on the disk.
struct Fetched {
    upload: Upload,
    about: Description,
}

/// The second part of a multipart response.
enum Second {
    Content(Box<Fetched>),
    /// The content is at this URL.
    Location(String),
}

impl Downloads {
    /// Fetches the media and stores it.
    pub(super) async fn fetch(
        &self,
        key: &Key,
        timeout: Duration,
        charge: &mut Charge<'_>,
    ) -> Result<RemoteMedia, FetchError> {
        let Fetched { upload, about } = match self.authenticated(key, timeout, charge).await {
            Err(FetchError::Server(error)) if error.is_unknown_endpoint() => self.legacy(key, timeout, charge).await?,
            fetched => fetched?,
        };
        let (server, media_id) = key;
        let file_id = self.local.new_id();
        let file = MediaFile::remote(server.as_str(), &file_id);
        let target = self.local.path(&file).map_err(Box::new)?;
        let origin = MediaOrigin::remote(server, media_id);
        let (sealed, content) = self.local.seal(upload, &file_id, about, origin).await.map_err(Box::new)?;
        let now = self.local.now_ms();
        let media = RemoteMedia { file_id, content, last_access_ms: now };
        let (server, media_id, row) = (server.clone(), media_id.clone(), media.clone());
        let (database, storages) = (self.local.database().clone(), Arc::clone(self.local.storages()));
        let set = async move {
            let written = database.write(move |tx| {
                let replaced = remote_media::set(tx, server.as_str(), &media_id, &row, now)?;
                let replaced = replaced.map(|file_id| MediaFile::remote(server.as_str(), &file_id));
                storages.queue_deletion(tx, replaced.as_slice())?;
                storages.queue_storing(tx, &file)
            });
            written.await.map_err(MediaError::Database)
        };
        sealed.record(self.local.background(), set, target, ()).await.map_err(Box::new)?;
        Ok(media)
    }

    fn limit(&self) -> usize {
        usize::try_from(self.local.max_upload_bytes()).unwrap_or(usize::MAX)
    }

    fn bounds(&self, upload_timeout: Duration) -> Bounds {
        Bounds { upload_timeout, max_response_bytes: self.limit().saturating_add(MAX_AROUND) }
    }

    async fn authenticated(
        &self,
        (server, media_id): &Key,
        timeout: Duration,
        charge: &mut Charge<'_>,
    ) -> Result<Fetched, FetchError> {
        let bounds = self.bounds(timeout);
        let answer = authenticated_media::get_content::call(&self.client, server, media_id, bounds).await?;
        match self.second_part(answer, charge).await? {
            Second::Content(fetched) => Ok(*fetched),
            Second::Location(location) => {
                let limits = Limits { timeout: bounds.timeout(), max_response_bytes: self.limit() };
                let answer = self.client.fetch(Purpose::RemoteMedia(limits), server, &location).await?;
                self.whole(answer, charge).await
            }
        }
    }

    async fn legacy(
        &self,
        (server, media_id): &Key,
        timeout: Duration,
        charge: &mut Charge<'_>,
    ) -> Result<Fetched, FetchError> {
        let bounds = self.bounds(timeout);
        let answer = api::media::get_content::call(&self.client, server, media_id, bounds).await?;
        self.whole(answer, charge).await
    }

    /// Refuses a response that announces more bytes than it may have, or than the downloader may have fetched, before
    /// any of it is read. `around` is the number of bytes that the response may have besides the content.
    fn announced(&self, answer: &StreamedResponse, around: usize, charge: &mut Charge<'_>) -> Result<(), FetchError> {
        let length = answer.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let Some(length) = length else { return Ok(()) };
        let limit = self.local.max_upload_bytes();
        if length > limit.saturating_add(around as u64) {
            return Err(kept(UploadError::TooLarge { limit }));
        }
        Ok(charge.announce(length)?)
    }

    /// Stores a response that consists of the content.
    async fn whole(&self, mut answer: StreamedResponse, charge: &mut Charge<'_>) -> Result<Fetched, FetchError> {
        self.announced(&answer, 0, charge)?;
        let about = {
            let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
            described(header("content-type"), header("content-disposition"))
        };
        let mut upload = self.local.begin_download().await.map_err(Box::new)?;
        while let Some(chunk) = answer.chunk().await? {
            charge.spend(chunk.len() as u64)?;
            upload.write(&chunk).await.map_err(kept)?;
        }
        Ok(Fetched { upload, about })
    }

    /// Returns the second part of a multipart response; the first describes the media, and the specification defines no
    /// fields for it yet.
    async fn second_part(&self, mut answer: StreamedResponse, charge: &mut Charge<'_>) -> Result<Second, FetchError> {
        self.announced(&answer, MAX_AROUND, charge)?;
        let content_type = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
        let mut reader = Multipart::of(content_type.unwrap_or_default())?;
        let mut upload = self.local.begin_download().await.map_err(Box::new)?;
        let mut about = None;
        let mut parts = 0;
        while let Some(chunk) = answer.chunk().await? {
            charge.spend(chunk.len() as u64)?;
            reader.push(&chunk);
            while let Some(piece) = reader.next_piece()? {
                match (piece, parts) {
                    (Piece::Part(_), 0) => parts = 1,
                    (Piece::Part(headers), 1) => {
                        let header =
                            |wanted| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
                        if let Some(location) = header("location") {
                            return Ok(Second::Location(location.to_owned()));
                        }
                        about = Some(described(header("content-type"), header("content-disposition")));
                        parts = 2;
                    }
                    (Piece::Content(content), 2) => upload.write(&content).await.map_err(kept)?,
                    (Piece::Content(_), _) => {}
                    // The specification defines nothing after the second part.
                    (Piece::Part(_) | Piece::End, _) => {
                        let about = about.ok_or(NotMultipart)?;
                        return Ok(Second::Content(Box::new(Fetched { upload, about })));
                    }
                }
            }
        }
        Err(FetchError::BrokeOff)
    }
}

fn described(content_type: Option<&str>, disposition: Option<&str>) -> Description {
    Description { content_type: content_type.map(str::to_owned), upload_name: disposition.and_then(serving::file_name) }
}

fn kept(error: UploadError) -> FetchError {
    FetchError::Media(Box::new(error.into()))
}
