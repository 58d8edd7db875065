//! Dehydrated devices (MSC3814).

use crate::{DbError, Tx};

/// The dehydrated device of a user.
#[derive(Debug, Clone)]
pub struct DehydratedDevice {
    pub device_id: String,
    /// JSON.
    pub device_data: String,
}

/// Returns the dehydrated device of a user.
pub fn get(tx: &mut Tx<'_>, user_id: &str) -> Result<Option<DehydratedDevice>, DbError> {
    tx.query_opt("SELECT device_id, device_data FROM dehydrated_devices WHERE user_id = $1", &[&user_id], |row| {
        Ok(DehydratedDevice { device_id: row.get(0)?, device_data: row.get(1)? })
    })
}

/// Makes a device the dehydrated device of a user who has none.
pub fn insert(tx: &mut Tx<'_>, user_id: &str, device: &DehydratedDevice) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO dehydrated_devices (user_id, device_id, device_data) VALUES ($1, $2, $3)",
        &[&user_id, &device.device_id, &device.device_data],
    )?;
    Ok(())
}

/// Makes an ordinary device of this device, if it is the user's dehydrated device.
pub fn delete(tx: &mut Tx<'_>, user_id: &str, device_id: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM dehydrated_devices WHERE user_id = $1 AND device_id = $2", &[&user_id, &device_id])?;
    Ok(())
}
