//! Scheduled tasks: work that is done once, at a time or as soon as possible, also after a restart.

use crate::{Any, DbError, Row, Tx, first, readable};

/// The most tasks that [`list`] returns.
pub const MAX_LISTED: u32 = 1_000;

/// The status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// It waits until it is due.
    Scheduled,
    /// It runs, or is resumed after a restart.
    Active,
    Complete,
    Failed,
    Cancelled,
}

/// A task. `parameters` and `result` are JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledTask {
    pub task_id: String,
    pub kind: String,
    pub status: TaskStatus,
    pub timestamp_ms: u64,
    pub resource_id: Option<String>,
    pub parameters: String,
    pub result: Option<String>,
    pub error: Option<String>,
    pub attempts: u32,
}

/// Which tasks [`list`] returns: those that match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub kind: Option<String>,
    pub resource_id: Option<String>,
    pub status: Option<TaskStatus>,
    /// Only tasks with this timestamp or an earlier one, in Unix ms.
    pub max_timestamp_ms: Option<u64>,
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub enum AttemptEnd {
    /// The task has ended with this status. `result` is JSON; without one the progress stays.
    Ended { status: TaskStatus, result: Option<String>, error: Option<String> },
    /// The attempt failed, and is repeated at `due_ms` (Unix ms).
    Repeated { due_ms: u64, error: String },
    /// It was too early: the task runs at `due_ms` (Unix ms), as if it had not been taken.
    Postponed { due_ms: u64 },
}

impl TaskStatus {
    const ALL: [Self; 5] = [Self::Scheduled, Self::Active, Self::Complete, Self::Failed, Self::Cancelled];

    /// Returns its name, as in Synapse.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the status of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

fn task(row: &Row<'_>) -> Result<ScheduledTask, DbError> {
    let status: String = row.get(2)?;
    let status = TaskStatus::from_name(&status)
        .ok_or_else(|| DbError::bad_data("scheduled_tasks.status", format!("unknown status {status:?}")))?;
    Ok(ScheduledTask {
        task_id: row.get(0)?,
        kind: row.get(1)?,
        status,
        timestamp_ms: row.get(3)?,
        resource_id: row.get(4)?,
        parameters: row.get(5)?,
        result: row.get(6)?,
        error: row.get(7)?,
        attempts: row.get(8)?,
    })
}

/// Raises the epoch and returns it. Tasks that are active since an earlier epoch can be taken again in this one.
pub fn begin_epoch(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    tx.execute_later("UPDATE task_epoch SET epoch = epoch + 1", &[])?;
    tx.query_one("SELECT epoch FROM task_epoch", &[], first)
}

/// Stores a new task.
pub fn insert(tx: &mut Tx<'_>, task: &ScheduledTask) -> Result<(), DbError> {
    tx.execute_later(
        "INSERT INTO scheduled_tasks
             (task_id, kind, status, timestamp_ms, resource_id, parameters, result, error, attempts, epoch)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)",
        &[
            &task.task_id,
            &task.kind,
            &task.status.as_str(),
            &task.timestamp_ms,
            &task.resource_id,
            &task.parameters,
            &task.result,
            &task.error,
            &task.attempts,
        ],
    )?;
    Ok(())
}

/// Returns a task.
pub fn get(tx: &mut Tx<'_>, task_id: &str) -> Result<Option<ScheduledTask>, DbError> {
    tx.query_opt(
        "SELECT task_id, kind, status, timestamp_ms, resource_id, parameters, result, error, attempts
         FROM scheduled_tasks WHERE task_id = $1",
        &[&task_id],
        task,
    )
}

/// Whether a task of a kind is scheduled.
pub fn is_any_scheduled(tx: &mut Tx<'_>, kind: &str) -> Result<bool, DbError> {
    let found: Option<i64> = tx.query_opt(
        "SELECT 1 FROM scheduled_tasks WHERE status = 'scheduled' AND kind = $1 LIMIT 1",
        &[&kind],
        first,
    )?;
    Ok(found.is_some())
}

/// Deletes the scheduled tasks of a kind.
pub fn delete_scheduled_of_kind(tx: &mut Tx<'_>, kind: &str) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM scheduled_tasks WHERE status = 'scheduled' AND kind = $1", &[&kind])?;
    Ok(())
}

/// Returns the id of the scheduled task of a kind about a resource that is due first, and when it is, in Unix ms.
pub fn find_scheduled(
    tx: &mut Tx<'_>,
    kind: &str,
    resource_id: Option<&str>,
) -> Result<Option<(String, u64)>, DbError> {
    tx.query_opt(
        "SELECT task_id, timestamp_ms FROM scheduled_tasks
         WHERE kind = $1 AND status = 'scheduled' AND COALESCE(resource_id, '') = $2
         ORDER BY timestamp_ms LIMIT 1",
        &[&kind, &resource_id.unwrap_or("")],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns the newest [`MAX_LISTED`] tasks that match, oldest first, without those of another program's statuses.
pub fn list(tx: &mut Tx<'_>, filter: &TaskFilter) -> Result<Vec<ScheduledTask>, DbError> {
    const MAX_TIMESTAMP_MS: u64 = i64::MAX as u64;
    let status = filter.status.map_or("", TaskStatus::as_str);
    let max_timestamp_ms = filter.max_timestamp_ms.map_or(MAX_TIMESTAMP_MS, |max| max.min(MAX_TIMESTAMP_MS));
    let mut tasks: Vec<ScheduledTask> = tx
        .query(
            "SELECT task_id, kind, status, timestamp_ms, resource_id, parameters, result, error, attempts
         FROM scheduled_tasks
         WHERE ($1 = '' OR kind = $1) AND ($2 = '' OR resource_id = $2) AND ($3 = '' OR status = $3)
             AND timestamp_ms <= $4
         ORDER BY timestamp_ms DESC, task_nid DESC LIMIT $5",
            &[
                &filter.kind.as_deref().unwrap_or(""),
                &filter.resource_id.as_deref().unwrap_or(""),
                &status,
                &max_timestamp_ms,
                &MAX_LISTED,
            ],
            |row| Ok(readable(task(row))),
        )?
        .into_iter()
        .flatten()
        .collect();
    tasks.reverse();
    Ok(tasks)
}

/// Returns how many unfinished tasks there are of each kind.
pub fn unfinished_kinds(tx: &mut Tx<'_>) -> Result<Vec<(String, u64)>, DbError> {
    tx.query(
        "SELECT kind, COUNT(*) FROM scheduled_tasks WHERE status IN ('scheduled', 'active')
         GROUP BY kind ORDER BY kind",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Returns at most `limit` tasks of a kind that an earlier epoch has left active.
pub fn left_active(tx: &mut Tx<'_>, kind: &str, epoch: i64, limit: u32) -> Result<Vec<ScheduledTask>, DbError> {
    tx.query(
        "SELECT task_id, kind, status, timestamp_ms, resource_id, parameters, result, error, attempts
         FROM scheduled_tasks WHERE status = 'active' AND kind = $1 AND epoch < $2
         ORDER BY timestamp_ms, task_nid LIMIT $3",
        &[&kind, &epoch, &limit],
        task,
    )
}

/// Returns at most `limit` tasks of a kind that are due at `now_ms` (Unix ms), in the order of their times, without
/// those about a resource that an active task of the kind is about.
pub fn due(tx: &mut Tx<'_>, kind: &str, now_ms: u64, limit: u32) -> Result<Vec<ScheduledTask>, DbError> {
    tx.query(
        "SELECT t.task_id, t.kind, t.status, t.timestamp_ms, t.resource_id, t.parameters, t.result, t.error, t.attempts
         FROM scheduled_tasks t
         WHERE t.status = 'scheduled' AND t.kind = $1 AND t.timestamp_ms <= $2
             AND NOT EXISTS (SELECT 1 FROM scheduled_tasks a
                 WHERE a.resource_id = t.resource_id AND a.kind = t.kind AND a.status = 'active')
         ORDER BY t.timestamp_ms, t.task_nid LIMIT $3",
        &[&kind, &now_ms, &limit],
        task,
    )
}

/// Returns the time, in Unix ms, at which the first task of these kinds that is not due at `now_ms` becomes due.
pub fn next_due(tx: &mut Tx<'_>, kinds: &[&str], now_ms: u64) -> Result<Option<u64>, DbError> {
    tx.query_one(
        "SELECT MIN(timestamp_ms) FROM scheduled_tasks
         WHERE status = 'scheduled' AND kind = ANY($1) AND timestamp_ms > $2",
        &[&Any(kinds), &now_ms],
        first,
    )
}

/// Makes a task active, and takes it for `epoch`. Returns `false` when it is neither scheduled nor left active by an
/// earlier epoch, and while another task of its kind about the same resource is active in this epoch.
pub fn take(tx: &mut Tx<'_>, task_id: &str, epoch: i64, now_ms: u64) -> Result<bool, DbError> {
    let taken = tx.execute(
        "UPDATE scheduled_tasks SET status = 'active', epoch = $2, timestamp_ms = $3
         WHERE task_id = $1 AND (status = 'scheduled' OR (status = 'active' AND epoch < $2))
             AND NOT EXISTS (SELECT 1 FROM scheduled_tasks a
                 WHERE a.resource_id = scheduled_tasks.resource_id AND a.kind = scheduled_tasks.kind
                     AND a.status = 'active' AND a.epoch = $2)",
        &[&task_id, &epoch, &now_ms],
    )?;
    Ok(taken == 1)
}

/// Stores the progress of an active task, as JSON. Returns `false` when it is not active in this epoch any more.
pub fn set_progress(tx: &mut Tx<'_>, task_id: &str, epoch: i64, progress: &str) -> Result<bool, DbError> {
    let stored = tx.execute(
        "UPDATE scheduled_tasks SET result = $3 WHERE task_id = $1 AND epoch = $2 AND status = 'active'",
        &[&task_id, &epoch, &progress],
    )?;
    Ok(stored == 1)
}

/// Ends an attempt of an active task. Returns `false`, and changes nothing, when the task is not active in this epoch
/// any more.
pub fn end_attempt(tx: &mut Tx<'_>, task_id: &str, epoch: i64, now_ms: u64, end: &AttemptEnd) -> Result<bool, DbError> {
    let changed = match end {
        AttemptEnd::Ended { status, result, error } => tx.execute(
            "UPDATE scheduled_tasks SET status = $3, timestamp_ms = $4, result = COALESCE($5, result),
                 error = $6
             WHERE task_id = $1 AND epoch = $2 AND status = 'active'",
            &[&task_id, &epoch, &status.as_str(), &now_ms, result, error],
        ),
        AttemptEnd::Repeated { due_ms, error } => tx.execute(
            "UPDATE scheduled_tasks SET status = 'scheduled', timestamp_ms = $3, error = $4, attempts = attempts + 1
             WHERE task_id = $1 AND epoch = $2 AND status = 'active'",
            &[&task_id, &epoch, due_ms, error],
        ),
        AttemptEnd::Postponed { due_ms } => return release(tx, task_id, epoch, *due_ms),
    };
    Ok(changed? == 1)
}

/// Makes an active task scheduled again, for `due_ms` (Unix ms), as if it had not been taken.
pub fn release(tx: &mut Tx<'_>, task_id: &str, epoch: i64, due_ms: u64) -> Result<bool, DbError> {
    let released = tx.execute(
        "UPDATE scheduled_tasks SET status = 'scheduled', timestamp_ms = $3
         WHERE task_id = $1 AND epoch = $2 AND status = 'active'",
        &[&task_id, &epoch, &due_ms],
    )?;
    Ok(released == 1)
}

/// Changes the time at which a scheduled task is due, and forgets its failures. Returns `false` when it is not
/// scheduled.
pub fn reschedule(tx: &mut Tx<'_>, task_id: &str, due_ms: u64) -> Result<bool, DbError> {
    let changed = tx.execute(
        "UPDATE scheduled_tasks SET timestamp_ms = $2, attempts = 0, error = NULL
         WHERE task_id = $1 AND status = 'scheduled'",
        &[&task_id, &due_ms],
    )?;
    Ok(changed == 1)
}

/// Cancels a task that is scheduled or active. Returns `false` when it is neither.
pub fn cancel(tx: &mut Tx<'_>, task_id: &str, now_ms: u64) -> Result<bool, DbError> {
    let cancelled = tx.execute(
        "UPDATE scheduled_tasks SET status = 'cancelled', timestamp_ms = $2
         WHERE task_id = $1 AND status IN ('scheduled', 'active')",
        &[&task_id, &now_ms],
    )?;
    Ok(cancelled == 1)
}

/// Deletes a scheduled task. Returns `false` when it is not scheduled.
pub fn delete_scheduled(tx: &mut Tx<'_>, task_id: &str) -> Result<bool, DbError> {
    Ok(tx.execute("DELETE FROM scheduled_tasks WHERE task_id = $1 AND status = 'scheduled'", &[&task_id])? == 1)
}

/// Deletes an active task. Returns `false` when it is not active in this epoch any more.
pub fn delete_active(tx: &mut Tx<'_>, task_id: &str, epoch: i64) -> Result<bool, DbError> {
    let deleted = tx.execute(
        "DELETE FROM scheduled_tasks WHERE task_id = $1 AND epoch = $2 AND status = 'active'",
        &[&task_id, &epoch],
    )?;
    Ok(deleted == 1)
}

/// Deletes at most `limit` tasks that ended before `before_ms` (Unix ms); returns how many.
pub fn delete_ended(tx: &mut Tx<'_>, before_ms: u64, limit: u32) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM scheduled_tasks WHERE task_id IN (
             SELECT task_id FROM scheduled_tasks
             WHERE status IN ('complete', 'failed', 'cancelled') AND timestamp_ms < $1
             ORDER BY timestamp_ms LIMIT $2)",
        &[&before_ms, &limit],
    )
}
