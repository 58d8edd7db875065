//! `media_retention`: media that nobody has requested for long is deleted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::ServerName;
use plexus_protocol::json::Value;
use plexus_store::repo::media_files::{self, MediaFile};
use plexus_store::repo::{media, remote_media};
use plexus_store::{DbError, RoomNid};

use crate::store::MediaStore;

/// How many files are deleted in one transaction.
const PAGE: u32 = 100;
/// How many rooms' avatars are read at once.
const ROOMS_PAGE: u32 = 200;

/// How long media is kept after the last request for it; `None`: for ever.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lifetimes {
    /// Media that was uploaded here.
    pub local: Option<Duration>,
    /// Copies of other servers' media.
    pub remote: Option<Duration>,
}

/// Deletes media that nobody has requested for long. As in Synapse, the avatars of this server's users and of rooms
/// stay.
pub struct MediaRetention {
    server_name: ServerName,
    store: Arc<MediaStore>,
    lifetimes: Lifetimes,
}

impl MediaRetention {
    /// Creates the service for media of `server_name` and of others.
    pub fn new(server_name: ServerName, store: Arc<MediaStore>, lifetimes: Lifetimes) -> Self {
        Self { server_name, store, lifetimes }
    }

    /// Whether any media is deleted.
    pub fn is_enabled(&self) -> bool {
        self.lifetimes.local.is_some() || self.lifetimes.remote.is_some()
    }

    /// Forgets the media that has not been requested for long, and has all storages delete its files. Returns how many
    /// files.
    ///
    /// # Errors
    /// When the database fails. What was forgotten until then stays so.
    pub async fn apply(&self) -> Result<u64, DbError> {
        self.store.flush_last_access().await?;
        let before = |lifetime: Duration| {
            self.store.now_ms().saturating_sub(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX))
        };
        let mut deleted = 0;
        if let Some(lifetime) = self.lifetimes.remote {
            deleted += self.forget_remote(before(lifetime)).await?;
        }
        if let Some(lifetime) = self.lifetimes.local {
            deleted += self.forget_local(before(lifetime)).await?;
        }
        Ok(deleted)
    }

    async fn forget_remote(&self, before_ms: u64) -> Result<u64, DbError> {
        let mut deleted = 0;
        loop {
            let storages = Arc::clone(self.store.storages());
            let forgotten = self.store.database().write(move |tx| {
                let files = remote_media::forget_unused(tx, before_ms, PAGE)?;
                storages.queue_deletion(tx, &files)?;
                Ok::<_, DbError>(files.len() as u64)
            });
            let forgotten = forgotten.await?;
            deleted += forgotten;
            if forgotten < u64::from(PAGE) {
                return Ok(deleted);
            }
        }
    }

    async fn forget_local(&self, before_ms: u64) -> Result<u64, DbError> {
        let mut deleted = 0;
        let mut rooms = None;
        let mut after = (0, String::new());
        loop {
            let from = after.clone();
            let unused = self.store.database().read(move |tx| media::unused_since(tx, before_ms, &from, PAGE)).await?;
            let Some(last) = unused.last().cloned() else { return Ok(deleted) };
            after = last;
            let rooms = match &rooms {
                Some(known) => known,
                None => rooms.insert(self.room_avatars().await?),
            };
            let json = |id: &str| Value::from(self.uri(id)).to_json();
            let ids: Vec<String> = unused.into_iter().map(|(_, id)| id).collect();
            let urls: Vec<String> = ids.iter().map(|id| json(id)).collect();
            let users = self.store.database().read(move |tx| media_files::user_avatars(tx, &urls)).await?;
            let (avatars, ids): (Vec<_>, Vec<_>) =
                ids.into_iter().partition(|id| rooms.contains(&self.uri(id)) || users.contains(&json(id)));
            let (storages, now_ms) = (Arc::clone(self.store.storages()), self.store.now_ms());
            let kept: Vec<_> = avatars.iter().map(|id| (MediaFile::local(id), now_ms)).collect();
            let forgotten = self.store.database().write(move |tx| {
                // They are not looked at again in every run, for which all rooms would be read.
                media_files::set_last_access(tx, &kept)?;
                let files = media::forget_unused(tx, &ids, before_ms)?;
                let files: Vec<MediaFile> = files.iter().map(|id| MediaFile::local(id)).collect();
                storages.queue_deletion(tx, &files)?;
                Ok::<_, DbError>(files.len() as u64)
            });
            deleted += forgotten.await?;
        }
    }

    fn uri(&self, media_id: &str) -> String {
        format!("mxc://{}/{media_id}", self.server_name)
    }

    /// Returns the URIs of this server's media that are the avatars of rooms.
    async fn room_avatars(&self) -> Result<HashSet<String>, DbError> {
        let own = self.uri("");
        let mut found = HashSet::new();
        let mut after = RoomNid::MIN;
        loop {
            let avatars =
                self.store.database().read(move |tx| media_files::room_avatars(tx, after, ROOMS_PAGE)).await?;
            for event in avatars.events.into_iter().flatten() {
                let Ok(Value::Object(event)) = Value::parse(&event) else { continue };
                let url = event.get("content").and_then(|content| content.as_object()?.get("url")?.as_str());
                found.extend(url.filter(|url| url.starts_with(&own)).map(str::to_owned));
            }
            match avatars.last_room {
                Some(last) => after = last,
                None => return Ok(found),
            }
        }
    }
}
