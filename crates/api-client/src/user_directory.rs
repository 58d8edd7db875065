//! Finding users.

pub mod search_users;
