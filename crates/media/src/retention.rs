//! `media_retention`: media that nobody has requested for long is deleted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::ServerName;
use plexus_protocol::json::Value;
use plexus_store::repo::avatars::{self, RoomAvatar};
use plexus_store::repo::media_files::{self, MediaFile};
use plexus_store::repo::{media, remote_media};
use plexus_store::{DbError, RoomNid};

use crate::store::MediaStore;

/// How many files are deleted in one transaction.
const PAGE: u32 = 100;
/// How many rooms' avatars are indexed in one transaction, for which others wait.
const ROOMS_PAGE: u32 = 50;
/// The most bytes of a media id; longer ones are of no media.
const MAX_MEDIA_ID_BYTES: usize = 255;

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
        let (mut deleted, mut is_indexed) = (0, false);
        let mut after = (0, String::new());
        loop {
            let from = after.clone();
            let unused = self.store.database().read(move |tx| media::unused_since(tx, before_ms, &from, PAGE)).await?;
            let Some(last) = unused.last().cloned() else { return Ok(deleted) };
            after = last;
            if !is_indexed {
                self.index_room_avatars().await?;
                is_indexed = true;
            }
            let avatars = self.avatars_among(unused.iter().map(|(_, id)| self.uri(id)).collect()).await?;
            let ids = unused.into_iter().map(|(_, id)| id);
            let (avatars, ids): (Vec<_>, Vec<_>) = ids.partition(|id| avatars.contains(&self.uri(id)));
            let (storages, now_ms) = (Arc::clone(self.store.storages()), self.store.now_ms());
            let kept: Vec<_> = avatars.iter().map(|id| (MediaFile::local(id), now_ms)).collect();
            let forgotten = self.store.database().write(move |tx| {
                // They are not looked at again in every run.
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

    /// Indexes the avatars of the rooms that have changed them since the last run.
    async fn index_room_avatars(&self) -> Result<(), DbError> {
        loop {
            let own = self.uri("");
            // One transaction: a change comes before it or after it.
            let indexed = self.store.database().write(move |tx| {
                let rooms = avatars::stale_rooms(tx, ROOMS_PAGE)?;
                let mut urls: HashMap<RoomNid, String> = avatars::of_rooms(tx, &rooms)?
                    .into_iter()
                    .filter_map(|avatar| Some((avatar.room_nid, own_url(&avatar, &own)?)))
                    .collect();
                let rows: Vec<_> = rooms.iter().map(|room| (*room, urls.remove(room))).collect();
                avatars::index(tx, &rows)?;
                Ok::<_, DbError>(rooms.len())
            });
            if indexed.await? < ROOMS_PAGE as usize {
                return Ok(());
            }
        }
    }

    /// Returns those of `uris` that are the avatar of a user of this server or of a room.
    async fn avatars_among(&self, uris: Vec<String>) -> Result<HashSet<String>, DbError> {
        let own = self.uri("");
        let read = self.store.database().read(move |tx| {
            let json: Vec<String> = uris.iter().map(|uri| Value::from(uri.as_str()).to_json()).collect();
            let of_users: HashSet<String> = avatars::of_users(tx, &json)?.into_iter().collect();
            // An avatar may have been redacted since it was indexed.
            let rooms = avatars::rooms_with(tx, &uris)?;
            let of_rooms = avatars::of_rooms(tx, &rooms)?;
            let of_users = uris.into_iter().zip(json).filter(|(_, json)| of_users.contains(json)).map(|(uri, _)| uri);
            Ok::<_, DbError>(of_rooms.iter().filter_map(|avatar| own_url(avatar, &own)).chain(of_users).collect())
        });
        read.await
    }
}

/// Returns the URI of a room's avatar, if it begins with `own` and can be that of media.
fn own_url(avatar: &RoomAvatar, own: &str) -> Option<String> {
    let Ok(Value::Object(event)) = Value::parse(avatar.event.as_ref().ok()?) else { return None };
    let url = event.get("content")?.as_object()?.get("url")?.as_str()?;
    let media_id = url.strip_prefix(own)?;
    (media_id.len() <= MAX_MEDIA_ID_BYTES).then(|| url.to_owned())
}
