//! Transactions.

pub(crate) mod send_transaction_message;
