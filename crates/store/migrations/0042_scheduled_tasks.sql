-- Work that is done once, at a time or as soon as possible, also after a restart.
CREATE TABLE scheduled_tasks (
    -- In the order in which tasks were made: those that are due at the same time run in it.
    task_nid BIGINT PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    -- The name of the handler; rows of unknown kinds belong to another version of the program, and are left alone.
    kind TEXT NOT NULL,
    -- scheduled, active, complete, failed or cancelled.
    status TEXT NOT NULL,
    -- Unix ms: when the task is due while it is scheduled, else when its status changed.
    timestamp_ms BIGINT NOT NULL,
    -- The room or user that it is about. Tasks of one kind about the same one run one after the other.
    resource_id TEXT,
    -- JSON.
    parameters TEXT NOT NULL,
    -- JSON: the progress of an active task, the result of one that has ended.
    result TEXT,
    -- Why the last attempt failed.
    error TEXT,
    -- How many attempts have failed.
    attempts BIGINT NOT NULL,
    -- The epoch of the process that has taken an active task.
    epoch BIGINT NOT NULL
);
CREATE INDEX scheduled_tasks_due ON scheduled_tasks (status, kind, timestamp_ms);
CREATE INDEX scheduled_tasks_resource ON scheduled_tasks (resource_id, kind) WHERE resource_id IS NOT NULL;
CREATE INDEX scheduled_tasks_timestamp ON scheduled_tasks (timestamp_ms);

-- One row. A process that takes tasks begins by raising it; what it has taken, no process of an earlier epoch changes.
CREATE TABLE task_epoch (
    -- Always 1.
    id BIGINT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL
);
INSERT INTO task_epoch (id, epoch) VALUES (1, 0);
