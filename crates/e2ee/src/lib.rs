//! End-to-end encryption: the keys that devices publish, and the devices of other servers' users. The server stores
//! keys and hands them out; it never sees a secret.
//!
//! - [`device_keys`]: device keys, one-time keys, cross-signing keys and signatures of this server's users
//! - [`key_backup`]: server-side backups of room keys
//! - [`remote_devices`]: the device lists of other servers' users

#![warn(missing_docs, unreachable_pub)]

pub mod device_keys;
pub mod key_backup;
pub mod remote_devices;

pub use device_keys::{CrossSigning, DeviceKeys};
pub use key_backup::KeyBackups;
pub use remote_devices::{RemoteDevices, RemoteDevicesParts};
