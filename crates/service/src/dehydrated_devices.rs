//! Dehydrated devices (MSC3814): a device that receives room keys while its user is logged in nowhere.

use plexus_accounts::{DehydrationError, Devices, NewDehydratedDevice};
use plexus_e2ee::device_keys::{KeyUpload, UploadError};
use plexus_protocol::id::UserId;
use plexus_store::repo::dehydrated_devices::{self, DehydratedDevice};
use plexus_store::repo::to_device::{self, ReadLimits, Waiting};
use plexus_store::{Database, DbError, Position};

/// The largest data of a dehydrated device, in bytes: a pickled device with a hundred one-time keys has some 10 KiB.
const MAX_DEVICE_DATA_BYTES: usize = 64 * 1024;
/// The most messages of a page.
const MAX_PAGE_MESSAGES: u64 = 1_000;
/// The most bytes of a page's messages, if it has more than one.
const MAX_PAGE_BYTES: u64 = 1024 * 1024;

/// Why a dehydrated device is not stored.
#[derive(Debug, thiserror::Error)]
pub enum DehydrateError {
    /// 413 `M_TOO_LARGE`
    #[error("device_data is larger than {MAX_DEVICE_DATA_BYTES} bytes")]
    TooLarge,
    /// The device.
    #[error(transparent)]
    Device(#[from] DehydrationError),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] UploadError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Why messages of a dehydrated device are not returned.
#[derive(Debug, thiserror::Error)]
pub enum DehydratedMessagesError {
    /// 403 `M_FORBIDDEN`
    #[error("This is not the user's dehydrated device")]
    OtherDevice,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A page of the messages to a dehydrated device.
#[derive(Debug)]
pub struct MessagePage {
    /// The messages, oldest first.
    pub messages: Vec<Waiting>,
    /// Whether there are more after them.
    pub more: bool,
}

/// Stores and reads dehydrated devices.
#[derive(Clone)]
pub struct DehydratedDevices {
    db: Database,
    devices: Devices,
}

impl DehydratedDevices {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, devices: Devices) -> Self {
        Self { db, devices }
    }

    /// Stores a dehydrated device with its keys, in place of the one before.
    ///
    /// # Errors
    /// See [`DehydrateError`].
    pub async fn put(
        &self,
        user_id: &UserId,
        new: NewDehydratedDevice,
        keys: &KeyUpload,
    ) -> Result<(), DehydrateError> {
        if new.device_data.len() > MAX_DEVICE_DATA_BYTES {
            return Err(DehydrateError::TooLarge);
        }
        let keys = keys.check(user_id, &new.device_id)?;
        let (devices, user_id) = (self.devices.clone(), user_id.clone());
        self.db
            .write(move |tx| {
                devices.replace_dehydrated(tx, &user_id, new)?;
                keys.store(tx)?;
                Ok(())
            })
            .await
    }

    /// Returns the dehydrated device of a user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(&self, user_id: &UserId) -> Result<Option<DehydratedDevice>, DbError> {
        let user_id = user_id.clone();
        self.db.read(move |tx| dehydrated_devices::get(tx, user_id.as_str())).await
    }

    /// Deletes the dehydrated device of a user with its keys and messages. Returns its id, if there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete(&self, user_id: &UserId) -> Result<Option<String>, DbError> {
        let (devices, user_id) = (self.devices.clone(), user_id.clone());
        self.db.write(move |tx| devices.delete_dehydrated(tx, &user_id)).await
    }

    /// Returns the messages to the user's dehydrated device `device_id` after the position `since`, at most `limit`.
    /// Nothing is deleted: another client can begin again.
    ///
    /// # Errors
    /// See [`DehydratedMessagesError`].
    pub async fn messages(
        &self,
        user_id: &UserId,
        device_id: String,
        since: Position,
        limit: u64,
    ) -> Result<MessagePage, DehydratedMessagesError> {
        let user_id = user_id.clone();
        let limits = ReadLimits { messages: limit.clamp(1, MAX_PAGE_MESSAGES), bytes: MAX_PAGE_BYTES };
        let upto = self.db.committed();
        self.db
            .read(move |tx| {
                let device = dehydrated_devices::get(tx, user_id.as_str())?;
                if device.is_none_or(|device| device.device_id != device_id) {
                    return Err(DehydratedMessagesError::OtherDevice);
                }
                let (messages, more) = to_device::waiting(tx, user_id.as_str(), &device_id, (since, upto), limits)?;
                Ok(MessagePage { messages, more })
            })
            .await
    }
}
