//! Which avatars users may have, and whether name and avatar may differ by room.

use std::sync::Arc;

use plexus_base::config::BlockingSection;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::media::Content;
use plexus_store::repo::{media, remote_media};
use plexus_store::{Database, DbError, Tx};

/// The rules of `allow_per_room_profiles`, `max_avatar_size` and `allowed_avatar_mimetypes`.
pub struct ProfileRules {
    db: Database,
    server_name: ServerName,
    avatars: Arc<AvatarRules>,
    /// Whether users may have a different name or avatar in a room.
    per_room: bool,
}

struct AvatarRules {
    max_bytes: Option<u64>,
    /// Any if empty.
    content_types: Vec<String>,
}

/// Why a user may not have a name or avatar.
#[derive(Debug, thiserror::Error)]
pub enum ProfileRuleError {
    /// The avatar is too large, of another type, or not on this server.
    #[error("This avatar is not allowed")]
    Avatar,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ProfileRules {
    /// Creates the rules of the configuration.
    #[must_use]
    pub fn new(config: &BlockingSection, db: Database, server_name: ServerName) -> Self {
        let avatars = AvatarRules {
            // As in Synapse, 0 is no limit.
            max_bytes: config.max_avatar_size.filter(|max_bytes| *max_bytes > 0),
            content_types: config.allowed_avatar_mimetypes.clone().unwrap_or_default(),
        };
        Self { db, server_name, avatars: Arc::new(avatars), per_room: config.allow_per_room_profiles }
    }

    /// Checks the avatar at a content URI. Of another server's media only what has been downloaded is known.
    ///
    /// # Errors
    /// See [`ProfileRuleError`].
    pub async fn check_avatar(&self, uri: &str) -> Result<(), ProfileRuleError> {
        if uri.is_empty() || self.avatars.allow_all() {
            return Ok(());
        }
        let parts = uri.strip_prefix("mxc://").and_then(|rest| rest.split_once('/'));
        let is_id = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let parts = parts.filter(|(server, id)| ServerName::try_from(*server).is_ok() && is_id(id));
        let Some((server, media_id)) = parts else { return Err(ProfileRuleError::Avatar) };
        let is_local = server == self.server_name.as_str();
        let (server, media_id) = (server.to_owned(), media_id.to_owned());
        let content = self.db.read(move |tx| content(tx, (!is_local).then_some(&server), &media_id)).await?;
        if content.is_some_and(|content| self.avatars.allow(&content)) { Ok(()) } else { Err(ProfileRuleError::Avatar) }
    }

    /// Applies the rules to what a user wants to have in a member event. `only_profile`: whether name and avatar are
    /// those of the user's profile, whatever the event says.
    ///
    /// # Errors
    /// See [`ProfileRuleError`].
    pub async fn apply_to_member(&self, content: &mut Object, only_profile: bool) -> Result<(), ProfileRuleError> {
        if only_profile || !self.per_room {
            content.remove("displayname");
            content.remove("avatar_url");
        }
        match content.get("avatar_url").and_then(Value::as_str) {
            Some(uri) => self.check_avatar(uri).await,
            None => Ok(()),
        }
    }
}

impl AvatarRules {
    fn allow_all(&self) -> bool {
        self.max_bytes.is_none() && self.content_types.is_empty()
    }

    fn allow(&self, content: &Content) -> bool {
        let content_type = content.content_type.split(';').next().unwrap_or_default().trim();
        let types = &self.content_types;
        self.max_bytes.is_none_or(|max_bytes| content.length <= max_bytes)
            && (types.is_empty() || types.iter().any(|allowed| allowed.eq_ignore_ascii_case(content_type)))
    }
}

/// Returns the metadata of media: of `server`, or, if `None`, of this one.
fn content(tx: &mut Tx<'_>, server: Option<&String>, media_id: &str) -> Result<Option<Content>, DbError> {
    match server {
        Some(server) => Ok(remote_media::get(tx, server, media_id)?.map(|media| media.content)),
        None => Ok(media::get(tx, media_id)?.and_then(|media| media.content)),
    }
}
