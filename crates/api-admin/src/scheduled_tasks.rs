//! GET /_synapse/admin/v1/scheduled_tasks

use plexus_http::{ApiError, AuthAdmin, JsonBody, Query, State};
use plexus_store::repo::scheduled_tasks::{self as tasks, ScheduledTask, TaskFilter, TaskStatus};
use plexus_store::{Database, DbError, readable_json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(crate) struct Filter {
    action_name: Option<String>,
    resource_id: Option<String>,
    status: Option<String>,
    /// What Synapse called `status` at first.
    job_status: Option<String>,
    max_timestamp: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct Response {
    scheduled_tasks: Vec<TaskInfo>,
}

#[derive(Serialize)]
struct TaskInfo {
    id: String,
    action: String,
    status: &'static str,
    timestamp_ms: u64,
    resource_id: Option<String>,
    result: Option<Box<RawValue>>,
    error: Option<String>,
}

/// Returns the newest tasks that match, oldest first; `max_timestamp`, the timestamp of the first, leads to older ones.
pub(crate) async fn list(
    AuthAdmin(_): AuthAdmin,
    Query(filter): Query<Filter>,
    State(db): State<Database>,
) -> Result<JsonBody<Response>, ApiError> {
    let status = filter.status.or(filter.job_status).map(|name| {
        TaskStatus::from_name(&name).ok_or_else(|| ApiError::invalid_param(format!("{name:?} is not a status")))
    });
    for name in [&filter.action_name, &filter.resource_id].into_iter().flatten() {
        if name.contains('\0') {
            return Err(ApiError::invalid_param("A filter must not contain U+0000"));
        }
    }
    let filter = TaskFilter {
        kind: filter.action_name.filter(|name| !name.is_empty()),
        resource_id: filter.resource_id,
        status: status.transpose()?,
        max_timestamp_ms: filter.max_timestamp,
    };
    let found = db.read::<_, DbError, _>(move |tx| tasks::list(tx, &filter)).await?;
    Ok(JsonBody(Response { scheduled_tasks: found.into_iter().map(TaskInfo::from).collect() }))
}

impl From<ScheduledTask> for TaskInfo {
    fn from(task: ScheduledTask) -> Self {
        let place = || format!("scheduled_tasks.result, task_id {}", task.task_id);
        let result = task.result.and_then(|result| readable_json(result, place));
        Self {
            result: result.and_then(|result| RawValue::from_string(result).ok()),
            id: task.task_id,
            action: task.kind,
            status: task.status.as_str(),
            timestamp_ms: task.timestamp_ms,
            resource_id: task.resource_id,
            error: task.error,
        }
    }
}
