//! Storing media, if policy hooks permit it.

use std::path::PathBuf;

use plexus_net::policy_hooks::MediaFileInfo;
use plexus_net::{PolicyHooks, PolicyRefusal};
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::repo::media::Content;
use plexus_store::repo::media_files;

use super::MediaStore;
use crate::error::MediaError;
use crate::paths;
use crate::upload::{Description, Sealed, Upload};

/// Where media comes from.
pub(crate) struct MediaOrigin<'a> {
    server_name: Option<&'a ServerName>,
    media_id: &'a str,
    user_id: Option<&'a UserId>,
}

impl<'a> MediaOrigin<'a> {
    /// Media that a local user uploads, or the image of a preview that the user asks for.
    pub(crate) fn of(user: &'a UserId, media_id: &'a str) -> Self {
        Self { server_name: None, media_id, user_id: Some(user) }
    }

    /// Media of another server.
    pub(crate) fn remote(server: &'a ServerName, media_id: &'a str) -> Self {
        Self { server_name: Some(server), media_id, user_id: None }
    }

    /// Asks the policy hooks whether the content may be stored.
    async fn check(&self, hooks: &PolicyHooks, content: &Content) -> Result<(), PolicyRefusal> {
        let file = MediaFileInfo {
            server_name: self.server_name.map(ServerName::as_str),
            media_id: self.media_id,
            user_id: self.user_id.map(UserId::as_str),
            content_type: &content.content_type,
            upload_name: content.upload_name.as_deref(),
            size: content.length,
            sha256: &paths::hex(&content.sha256),
        };
        hooks.check_media_file_for_spam(file).await
    }
}

impl MediaStore {
    /// Makes an upload durable under `name`, in the folder for uploads, if the policy hooks permit it; also returns the
    /// description for its row.
    pub(crate) async fn seal(
        &self,
        upload: Upload,
        name: &str,
        about: Description,
        origin: MediaOrigin<'_>,
    ) -> Result<(Sealed, Content), MediaError> {
        let hash = upload.sha256();
        let twins = self.database.read(move |tx| media_files::with_hash(tx, &hash)).await?;
        let twins: Vec<PathBuf> = twins.iter().filter_map(|file| self.path(file).ok()).collect();
        let sealed = upload.seal(name, &twins).await?;
        let content = sealed.described(about);
        if let Some(hooks) = &self.policy_hooks {
            origin.check(hooks, &content).await.map_err(|refusal| MediaError::Refused(Box::new(refusal)))?;
        }
        Ok((sealed, content))
    }
}
