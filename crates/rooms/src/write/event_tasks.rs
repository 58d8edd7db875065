//! Scheduled tasks that are stored with events: accepting invites, and deleting messages that expire.

use plexus_store::repo::scheduled_tasks::{self, ScheduledTask};
use plexus_store::{DbError, Tx};

use crate::model::engine_memory::EngineMemory;

/// Stores tasks, and has them looked at. That happens in a transaction of its own, which comes after this one.
pub(crate) fn schedule(tx: &mut Tx<'_>, memory: &EngineMemory, tasks: &[ScheduledTask]) -> Result<(), DbError> {
    for task in tasks {
        scheduled_tasks::insert(tx, task)?;
    }
    if let Some(due_ms) = tasks.iter().map(|task| task.timestamp_ms).min() {
        memory.tasks_stored.note(due_ms);
    }
    Ok(())
}
