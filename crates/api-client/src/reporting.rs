//! Reports to the administrators.

pub mod report_user;
