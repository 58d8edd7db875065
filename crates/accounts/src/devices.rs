//! A user's devices.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_store::repo::device_lists;
use plexus_store::repo::devices::{self, Device};
use plexus_store::{Database, DbError};

use crate::TokenChecker;
use crate::sessions::{MAX_DEVICE_DISPLAY_NAME, Sessions};

/// Why a device was not renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// 404 `M_NOT_FOUND`
    #[error("No such device")]
    NotFound,
    /// 400 `M_TOO_LARGE`
    #[error("Device display name is too long (max 100)")]
    TooLong,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Lists, renames and deletes devices.
#[derive(Clone)]
pub struct Devices {
    db: Database,
    sessions: Sessions,
    checker: Arc<TokenChecker>,
}

impl Devices {
    /// Creates the service. `checker` has the last uses of devices that are not written yet.
    #[must_use]
    pub fn new(db: Database, sessions: Sessions, checker: Arc<TokenChecker>) -> Self {
        Self { db, sessions, checker }
    }

    /// Returns every device of a user, by device id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, user_id: &UserId) -> Result<Vec<Device>, DbError> {
        let user = user_id.clone();
        let mut found = self.db.read::<_, DbError, _>(move |tx| devices::list(tx, user.as_str())).await?;
        for device in &mut found {
            self.add_unwritten(user_id, device);
        }
        Ok(found)
    }

    /// Returns a device of a user, if there is one with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(&self, user_id: &UserId, device_id: &str) -> Result<Option<Device>, DbError> {
        if device_id.contains('\0') {
            return Ok(None);
        }
        let (user, id) = (user_id.clone(), device_id.to_owned());
        let mut found = self.db.read::<_, DbError, _>(move |tx| devices::get(tx, user.as_str(), &id)).await?;
        if let Some(device) = &mut found {
            self.add_unwritten(user_id, device);
        }
        Ok(found)
    }

    fn add_unwritten(&self, user_id: &UserId, device: &mut Device) {
        if let Some(seen) = self.checker.pending_last_seen(user_id, &device.device_id) {
            device.last_seen_ts = Some(seen.ts);
            device.last_seen_ip = seen.ip;
            device.last_seen_user_agent = seen.user_agent;
        }
    }

    /// Renames a device. Users who can see its keys are notified.
    ///
    /// # Errors
    /// See [`RenameError`].
    pub async fn rename(&self, user_id: &UserId, device_id: &str, name: &str) -> Result<(), RenameError> {
        if name.chars().count() > MAX_DEVICE_DISPLAY_NAME {
            return Err(RenameError::TooLong);
        }
        if device_id.contains('\0') {
            return Err(RenameError::NotFound);
        }
        let (user_id, device_id) = (user_id.clone(), device_id.to_owned());
        let name = name.replace('\0', "");
        self.db
            .write(move |tx| {
                let Some(device) = devices::get(tx, user_id.as_str(), &device_id)? else {
                    return Err(RenameError::NotFound);
                };
                if device.display_name.as_deref() == Some(name.as_str()) {
                    return Ok(());
                }
                devices::rename(tx, user_id.as_str(), &device_id, Some(&name))?;
                device_lists::record_if_visible(tx, &user_id, &device_id)?;
                Ok(())
            })
            .await
    }

    /// Deletes devices with their tokens and keys. Ids that name no device are ignored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete(&self, user_id: &UserId, device_ids: Vec<String>) -> Result<(), DbError> {
        let (sessions, user_id) = (self.sessions.clone(), user_id.clone());
        self.db
            .write(move |tx| {
                for device_id in device_ids.iter().filter(|id| !id.contains('\0')) {
                    sessions.delete_device(tx, &user_id, device_id)?;
                }
                Ok(())
            })
            .await
    }
}
