//! Reports to the administrators.

pub(crate) mod report_user;
