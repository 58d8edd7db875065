//! Messages to devices.

pub mod send_event_to_device;
