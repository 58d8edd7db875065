//! Devices of this server's users.

pub(crate) mod get_devices;
