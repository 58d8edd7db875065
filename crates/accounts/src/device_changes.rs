//! Telling others that a user's devices or keys changed.

use plexus_protocol::id::UserId;
use plexus_store::repo::{device_keys, device_lists};
use plexus_store::{Change, DbError, Tx};

/// Records and announces that a device (or, with [`device_lists::CROSS_SIGNING`], the cross-signing keys) changed.
pub(crate) fn record(tx: &mut Tx, user_id: &UserId, device_id: &str) -> Result<(), DbError> {
    let position = tx.next_position()?;
    device_lists::record(tx, user_id.as_str(), device_id, position)?;
    tx.announce(Change::DeviceList { user: user_id.clone(), private: false, position });
    Ok(())
}

/// As [`record`], if the device has published keys: what nobody can see changed for nobody.
pub(crate) fn record_if_visible(tx: &mut Tx, user_id: &UserId, device_id: &str) -> Result<(), DbError> {
    match device_keys::get(tx, user_id.as_str(), device_id)? {
        Some(_) => record(tx, user_id, device_id),
        None => Ok(()),
    }
}

/// Records and announces that keys of `target` look different to `user_id` alone: `user_id` has signed them, or has
/// uploaded a user-signing key (then `target` is the same user).
pub(crate) fn record_signature(tx: &mut Tx, user_id: &UserId, target: &UserId) -> Result<(), DbError> {
    let position = tx.next_position()?;
    device_lists::record_signature(tx, user_id.as_str(), target.as_str(), position)?;
    tx.announce(Change::DeviceList { user: user_id.clone(), private: true, position });
    Ok(())
}

/// Announces that the number of one-time keys of a device, or its unused fallback keys, changed.
pub(crate) fn one_time_keys(tx: &mut Tx, user_id: &UserId, device_id: &str) -> Result<(), DbError> {
    let position = tx.next_position()?;
    tx.announce(Change::OneTimeKeys { user: user_id.clone(), device: device_id.to_owned(), position });
    Ok(())
}
