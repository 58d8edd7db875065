//! Changes of room aliases and of the room directory.

use std::sync::Arc;

use plexus_base::config::PolicyCallback;
use plexus_net::{PolicyHooks, PolicyRefusal};
use plexus_protocol::id::{RoomAlias, UserId};
use plexus_rooms::Room;
use plexus_rooms::write::policy_hooks::state_for;
use plexus_store::repo::bounds::BoundError;
use plexus_store::{Database, DbError, repo};

/// Changes room aliases and the room directory. The caller checks whether the user may.
#[derive(Clone)]
pub struct RoomDirectory {
    db: Database,
    policy_hooks: Option<Arc<PolicyHooks>>,
}

/// Why the room directory was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RoomDirectoryError {
    /// A policy hook refuses it.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// The alias exists.
    #[error("Room alias {0} already exists")]
    AliasTaken(RoomAlias),
    /// The database failed, or refused a value.
    #[error(transparent)]
    Bound(#[from] BoundError),
}

impl From<DbError> for RoomDirectoryError {
    fn from(error: DbError) -> Self {
        Self::Bound(error.into())
    }
}

impl RoomDirectory {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, policy_hooks: Option<Arc<PolicyHooks>>) -> Self {
        Self { db, policy_hooks }
    }

    /// Adds an alias of this server to a room. `is_admin`: whether the user is an administrator, about whose aliases
    /// policy hooks are not asked.
    ///
    /// # Errors
    /// See [`RoomDirectoryError`].
    pub async fn add_alias(
        &self,
        user: &UserId,
        alias: &RoomAlias,
        room: &Room,
        is_admin: bool,
    ) -> Result<(), RoomDirectoryError> {
        if let Some(hooks) = self.policy_hooks.as_ref().filter(|_| !is_admin) {
            hooks.user_may_create_room_alias(user, alias).await?;
        }
        let (nid, creator, text) = (room.nid, user.clone(), alias.as_str().to_owned());
        match self.db.write(move |tx| repo::aliases::add(tx, &text, nid, creator.as_str())).await {
            Err(BoundError::Db(error)) if repo::aliases::is_taken(&error) => {
                Err(RoomDirectoryError::AliasTaken(alias.clone()))
            }
            added => Ok(added?),
        }
    }

    /// Lists a room in the room directory, or takes it out. Policy hooks are asked whether the user may publish rooms,
    /// and whether this room may be listed or taken out.
    ///
    /// # Errors
    /// See [`RoomDirectoryError`].
    pub async fn set_published(&self, user: &UserId, room: &Room, published: bool) -> Result<(), RoomDirectoryError> {
        if let Some(hooks) = &self.policy_hooks {
            hooks.user_may_publish_room(user, &room.id).await?;
            if hooks.asks(PolicyCallback::CheckVisibilityCanBeModified) {
                let state = state_for(room, None).await?;
                hooks.check_visibility_can_be_modified(&room.id, &state, published).await?;
            }
        }
        let nid = room.nid;
        Ok(self.db.write(move |tx| repo::rooms::set_published(tx, nid, published)).await.map_err(BoundError::from)?)
    }
}
