//! Scheduled tasks: work that is done once, at a time or as soon as possible, also after a restart.
//!
//! A task is a row of the database, and is made in the transaction of whatever asks for it: it exists if and only if
//! that transaction commits. A task is of a kind, which has a [`TaskHandler`]. Handlers are idempotent: after a crash
//! an active task runs again, with the progress that it had stored. Two tasks of one kind about the same resource (a
//! room, a user) never run at the same time.
//!
//! - `scheduler`: [`TaskScheduler`] makes, moves and cancels tasks
//! - `handler`: what a kind of task implements, and what it gets
//! - `runner`: [`TaskRunner`] runs the tasks that are due

mod handler;
mod runner;
mod scheduler;
#[cfg(test)]
mod tests;

pub use handler::{MAX_ATTEMPTS, Recurrence, RunningTask, TaskHandler, TaskOutcome, TaskStopped};
pub use runner::TaskRunner;
pub(crate) use runner::write_until_stored;
pub use scheduler::{NewTask, TaskScheduler};
