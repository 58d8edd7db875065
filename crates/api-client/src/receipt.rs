//! Read receipts.

pub mod create_receipt;
