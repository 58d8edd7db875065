//! Where connections lead.

/// Where an encrypted connection leads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// What is connected to: a name, or an address without brackets.
    pub(crate) host: &'a str,
    /// At which port.
    pub(crate) port: u16,
    /// What the certificate must be for, and SNI names.
    pub(crate) name: &'a str,
}
