//! Read receipts.

pub(crate) mod create_receipt;
