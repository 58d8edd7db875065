//! Devices.

pub mod get_devices;
