//! A user's devices.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_store::repo::dehydrated_devices::{self, DehydratedDevice};
use plexus_store::repo::device_lists;
use plexus_store::repo::devices::{self, Device, DeviceKey};
use plexus_store::{Database, DbError, Tx};

use crate::TokenChecker;
use crate::sessions::{self, MAX_DEVICE_DISPLAY_NAME, MAX_DEVICE_ID, Sessions};

/// Why a device was not renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// 404 `M_NOT_FOUND`
    #[error("No such device")]
    NotFound,
    /// 400 `M_INVALID_PARAM`
    #[error("device_id must have 1 to 512 bytes without NUL")]
    InvalidId,
    /// 400 `M_TOO_LARGE`
    #[error("Device display name is too long (max 100)")]
    TooLong,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The most devices that [`Devices::delete_unused`] deletes in one transaction.
const MAX_DELETED: u32 = 100;

/// What one step of deleting unused devices did.
#[derive(Debug)]
pub struct DeletedDevices {
    /// How many devices were deleted.
    pub count: u64,
    /// Where the next step begins; `None` after the last one.
    pub next: Option<DeviceKey>,
}

/// The device that replaces a user's dehydrated device.
#[derive(Debug, Clone)]
pub struct NewDehydratedDevice {
    /// The device's id.
    pub device_id: String,
    /// Its name; cut off after 100 characters.
    pub display_name: Option<String>,
    /// JSON: what the user's clients make the device of.
    pub device_data: String,
}

/// Why a dehydrated device is not created.
#[derive(Debug, thiserror::Error)]
pub enum DehydrationError {
    /// 400 `M_INVALID_PARAM`
    #[error("device_id must have 1 to 512 bytes without NUL")]
    DeviceId,
    /// 400 `M_INVALID_PARAM`
    #[error("the user has an ordinary device with this device_id")]
    OrdinaryDevice,
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

    /// Creates a device without a session, or renames the device with this id (MSC4190). Returns whether it is new.
    ///
    /// # Errors
    /// See [`RenameError`], and `InvalidId`.
    pub async fn create_or_rename(
        &self,
        user_id: &UserId,
        device_id: &str,
        name: Option<&str>,
    ) -> Result<bool, RenameError> {
        if name.is_some_and(|name| name.chars().count() > MAX_DEVICE_DISPLAY_NAME) {
            return Err(RenameError::TooLong);
        }
        if device_id.is_empty() || device_id.len() > MAX_DEVICE_ID || device_id.contains('\0') {
            return Err(RenameError::InvalidId);
        }
        let (sessions, user, device) = (self.sessions.clone(), user_id.clone(), device_id.to_owned());
        let display_name = name.map(sessions::shortened);
        let created: bool =
            self.db.write::<_, DbError, _>(move |tx| sessions.create_device(tx, &user, &device, display_name)).await?;
        if let (Some(name), false) = (name, created) {
            self.rename(user_id, device_id, name).await?;
        }
        Ok(created)
    }

    /// Replaces the user's dehydrated device (MSC3814), if there is one, with its keys and messages.
    ///
    /// # Errors
    /// See [`DehydrationError`].
    pub fn replace_dehydrated(
        &self,
        tx: &mut Tx<'_>,
        user_id: &UserId,
        new: NewDehydratedDevice,
    ) -> Result<(), DehydrationError> {
        let NewDehydratedDevice { device_id, display_name, device_data } = new;
        if device_id.is_empty() || device_id.len() > MAX_DEVICE_ID || device_id.contains('\0') {
            return Err(DehydrationError::DeviceId);
        }
        self.delete_dehydrated(tx, user_id)?;
        let display_name = display_name.map(|name| sessions::shortened(&name));
        let now = self.sessions.now_ms();
        if !devices::create(tx, user_id.as_str(), &device_id, display_name.as_deref(), now)? {
            return Err(DehydrationError::OrdinaryDevice);
        }
        dehydrated_devices::insert(tx, user_id.as_str(), &DehydratedDevice { device_id, device_data })?;
        Ok(())
    }

    /// Deletes the user's dehydrated device with its keys and messages. Returns its id, if there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn delete_dehydrated(&self, tx: &mut Tx<'_>, user_id: &UserId) -> Result<Option<String>, DbError> {
        let Some(device) = dehydrated_devices::get(tx, user_id.as_str())? else { return Ok(None) };
        self.sessions.delete_device(tx, user_id, &device.device_id)?;
        Ok(Some(device.device_id))
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

    /// Deletes at most a hundred devices that were last used before `before_ms` (Unix ms), of those after `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_unused(&self, before_ms: u64, after: DeviceKey) -> Result<DeletedDevices, DbError> {
        let unused = move |tx: &mut Tx<'_>| devices::unused_since(tx, before_ms, &after, MAX_DELETED);
        let unused = self.db.read(unused).await?;
        let next = unused.last().filter(|_| unused.len() == MAX_DELETED as usize).cloned();
        let (sessions, checker) = (self.sessions.clone(), Arc::clone(&self.checker));
        let delete = self.db.write(move |tx| {
            let mut count = 0;
            for DeviceKey { user_id, device_id } in unused {
                let Some(user_id) = plexus_store::readable(
                    UserId::try_from(user_id).map_err(|error| DbError::bad_data("devices.user_id", error)),
                ) else {
                    continue;
                };
                // It may have been used, or deleted, since it was read.
                let stored = devices::get(tx, user_id.as_str(), &device_id)?;
                let seen = stored.and_then(|device| device.last_seen_ts).filter(|seen| *seen < before_ms);
                if seen.is_some() && checker.pending_last_seen(&user_id, &device_id).is_none() {
                    count += u64::from(sessions.delete_device(tx, &user_id, &device_id)?);
                }
            }
            Ok::<_, DbError>(count)
        });
        Ok(DeletedDevices { count: delete.await?, next })
    }
}
