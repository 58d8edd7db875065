//! Threads.

pub mod get_threads;
