use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Listener, OneOrMany, Secret};
use crate::schema::{MapReader, options};

options! {
    /// Multiple processes. Here any process can do any work, so Synapse's division of labour has no effect.
    pub struct WorkersSection checked by check_workers {
        /// The secret with which processes authenticate to each other.
        later worker_replication_secret: Option<Secret>,
        /// A file that holds `worker_replication_secret`.
        later worker_replication_secret_path: Option<PathBuf>,
        /// Whether the main process sends notifications.
        moot start_pushers: bool = true,
        /// The processes that send notifications.
        moot pusher_instances: Vec<String>,
        /// Whether the main process sends to other servers.
        moot send_federation: bool = true,
        /// The processes that send to other servers.
        moot federation_sender_instances: Vec<String>,
        /// The addresses of processes, by name.
        later instance_map: BTreeMap<String, Instance>,
        /// The processes that write.
        moot stream_writers: StreamWriters,
        /// The only processes that send requests to other servers.
        refused(
            "requests to other servers would leave from this process; remove it to accept that"
        ) outbound_federation_restricted_to: Vec<String>,
        /// The process that runs periodic tasks.
        moot run_background_tasks_on: Option<String>,
        /// Tasks in the background.
        later task_scheduler: TaskScheduler,
        /// The process that keeps the user directory.
        moot update_user_directory_from_worker: Option<String>,
        /// The process that sends to application services.
        moot notify_appservices_from_worker: Option<String>,
        /// The process that cleans up media.
        moot media_instance_running_background_jobs: Option<String>,
        /// The connection between processes.
        later redis: Redis,
        /// The program that a process runs.
        refused(
            "there is one process here, and it does the work of all workers; start it with the main \
             process's configuration alone"
        ) worker_app: Option<String>,
        /// The name of a process.
        later worker_name: Option<String>,
        /// The ports and sockets a process listens on.
        later worker_listeners: Vec<Listener>,
        /// The port of a process's Python console.
        moot worker_manhole: Option<u16>,
        /// Whether a process runs in the background.
        later worker_daemonize: bool = false,
        /// The file that a process writes its id to.
        later worker_pid_file: Option<PathBuf>,
        /// The logging of a process, like `log_config`.
        later worker_log_config: Option<PathBuf>,
        /// The main process's address: Synapse ignores it.
        moot worker_main_http_uri: Option<String>,
        /// Delays between processes, for Synapse's own tests.
        moot replication_torture_level: Option<f64>,
    }
}

fn check_workers(mut section: WorkersSection, map: &mut MapReader<'_, '_>) -> WorkersSection {
    section.worker_replication_secret = map.secret(
        "worker_replication_secret",
        section.worker_replication_secret,
        "worker_replication_secret_path",
        section.worker_replication_secret_path.as_deref(),
    );
    section
}

options! {
    /// The address of a process.
    pub struct Instance checked by check_instance {
        /// The host.
        later host: Option<String>,
        /// The port.
        later port: Option<u16>,
        /// Whether it uses TLS.
        later tls: bool = false,
        /// The unix socket's path, instead of host and port.
        later path: Option<PathBuf>,
    }
}

fn check_instance(instance: Instance, map: &mut MapReader<'_, '_>) -> Instance {
    let tcp = instance.host.is_some() && instance.port.is_some();
    if tcp == instance.path.is_some() {
        map.error("host", "allowed is either host and port, or path");
    }
    instance
}

options! {
    /// The processes that write, by what they write.
    pub struct StreamWriters {
        /// Events.
        moot events: OneOrMany,
        /// Typing notifications.
        moot typing: OneOrMany,
        /// Messages between devices.
        moot to_device: OneOrMany,
        /// Account data.
        moot account_data: OneOrMany,
        /// Read receipts.
        moot receipts: OneOrMany,
        /// Presence.
        moot presence: OneOrMany,
        /// Push rules.
        moot push_rules: OneOrMany,
        /// Device lists.
        moot device_lists: OneOrMany,
        /// Subscriptions to threads.
        moot thread_subscriptions: OneOrMany,
        /// Quarantined media.
        moot quarantined_media_changes: OneOrMany,
    }
}

options! {
    /// Tasks in the background.
    pub struct TaskScheduler {
        /// The most tasks that run at the same time.
        later max_concurrent_tasks: u32 = 5,
    }
}

options! {
    /// The connection between processes.
    pub struct Redis checked by check_redis {
        /// Whether it is used.
        later enabled: bool = false,
        /// The host.
        later host: String = "localhost".to_owned(),
        /// The port.
        later port: u16 = 6379,
        /// The unix socket's path, instead of host and port.
        later path: Option<PathBuf>,
        /// The user name.
        later username: Option<String>,
        /// The password.
        later password: Option<Secret>,
        /// A file that holds `password`.
        later password_path: Option<PathBuf>,
        /// The number of the database.
        later dbid: Option<u32>,
        /// Whether the connection uses TLS.
        later use_tls: bool = false,
        /// The file with the client certificate.
        later certificate_file: Option<PathBuf>,
        /// The file with its private key.
        later private_key_file: Option<PathBuf>,
        /// The file with the authorities for the server's certificate.
        later ca_file: Option<PathBuf>,
        /// A folder with such authorities.
        later ca_path: Option<PathBuf>,
    }
}

fn check_redis(mut redis: Redis, map: &mut MapReader<'_, '_>) -> Redis {
    let path = redis.password_path.as_deref();
    redis.password = map.secret("password", redis.password, "password_path", path);
    redis
}
