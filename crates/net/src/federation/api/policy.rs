//! Policy servers.

pub mod sign_event;
