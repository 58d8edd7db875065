//! Devices of this server's users.

pub mod get_devices;
