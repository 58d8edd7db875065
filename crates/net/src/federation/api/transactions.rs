//! Transactions.

pub mod send_transaction_message;
