//! What transactions hold beyond the specification.

/// The extensions of transactions that the configuration allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extensions {
    /// Messages for devices (MSC2409).
    pub to_device: bool,
    /// Changes of device lists and counts of keys (MSC3202).
    pub msc3202: bool,
}
