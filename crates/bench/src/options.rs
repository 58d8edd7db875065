//! The command line.

use std::path::PathBuf;
use std::time::Duration;

/// A scenario, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// N senders in N rooms: messages per second.
    Send,
    /// N senders in one room: messages per second.
    SendOneRoom,
    /// N users with nothing new to sync: syncs per second.
    SyncIdle,
    /// The initial sync of an account with R rooms: milliseconds.
    SyncInitial,
    /// The first sliding sync of an account with R rooms, and those of one message: milliseconds.
    SlidingInitial,
    /// W users wait in one room: milliseconds from sending a message to receiving it.
    Fanout,
    /// N senders in a room with 10, 1,000, ... local members: messages per second.
    WideSend,
    /// Paging backwards through a room's history: pages per second.
    History,
    /// Searching the messages of a room: searches per second.
    Search,
    /// Creating a room: milliseconds.
    CreateRoom,
    /// Joining and leaving a room repeatedly: joins and leaves per second.
    JoinLeave,
    /// Uploading and claiming device keys, and to-device messages.
    E2ee,
    /// The mixed load of a real server: many users wait; some type, read, write and look up profiles.
    Mixed,
    /// A room whose 50 members have pushers: messages per second until the push gateway has all notifications.
    Pushers,
    /// Rooms of one application service, whose token is `--app-service-token`: messages per second.
    AppServices,
    /// Thousands of open long polls: memory, and how long wake-ups take.
    Connections,
    /// Uploads and downloads per second.
    Media,
    /// Messages from 1 and from 100 other servers: PDUs per second until all of them can be read.
    FedSend,
    /// Joining a room of another server with 20,000 members: seconds, and peak memory.
    FedJoinLarge,
    /// The memory in use after the same work.
    Footprint,
    /// The cost of a request in this program, measured against a server that does nothing.
    Generator,
    /// The message rate as the database grows.
    Growth,
    /// The cost of messages and syncs as an account joins more rooms.
    GrowthRooms,
}

/// The parameters of a run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// What to measure; several may be given.
    #[arg(required = true, value_enum)]
    pub scenarios: Vec<Scenario>,
    /// The base URL of a homeserver, http://HOST:PORT; optionally preceded by `NAME=`, its name in the report.
    /// Repeatable.
    #[arg(long = "target", required = true)]
    pub targets: Vec<String>,
    /// The process id of a target on this machine, for memory and processor time; repeatable, in the order of targets.
    #[arg(long = "pid")]
    pub pids: Vec<u32>,
    /// The targets' `registration_shared_secret`; without it, users are created by open registration.
    #[arg(long)]
    pub shared_secret: Option<String>,
    /// How often each target is measured.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// The duration of a round of one target, in seconds.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// After how many seconds a scenario is aborted; the results so far are kept.
    #[arg(long, default_value_t = 3600)]
    pub limit: u64,
    /// Users that act at the same time.
    #[arg(long, default_value_t = 10)]
    pub users: usize,
    /// Rooms of the account whose initial sync is measured, and of `footprint`.
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    /// Users that wait for one message.
    #[arg(long, default_value_t = 50)]
    pub waiters: usize,
    /// Local members of the rooms of `wide-send`.
    #[arg(long, value_delimiter = ',', default_value = "10,1000,10000")]
    pub members: Vec<usize>,
    /// Messages in the room of `history`, and of `footprint`.
    #[arg(long, default_value_t = 1000)]
    pub messages: usize,
    /// Open long-polls of `connections`.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Users of `mixed`; each always has a waiting sync.
    #[arg(long, default_value_t = 100)]
    pub crowd: usize,
    /// Actions per second of all users of `mixed` together.
    #[arg(long, default_value_t = 30.0)]
    pub acts: f64,
    /// The size of a file of `media`, in bytes.
    #[arg(long, default_value_t = 100_000)]
    pub file_size: usize,
    /// PDUs that `fed-send` sends in a round.
    #[arg(long, default_value_t = 2000)]
    pub pdus: usize,
    /// Members of the room of `fed-join-large`.
    #[arg(long, default_value_t = 20_000)]
    pub room_members: usize,
    /// State events of the room of `fed-join-large`, including members.
    #[arg(long, default_value_t = 30_000)]
    pub room_state: usize,
    /// Events in the database at which `growth` measures.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    pub events: Vec<usize>,
    /// Rooms of one account at which `growth-rooms` measures.
    #[arg(long, value_delimiter = ',', default_value = "10,200,2000")]
    pub account_rooms: Vec<usize>,
    /// The `as_token` of the application service whose own user is in the rooms of `app-services`.
    #[arg(long)]
    pub app_service_token: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Also write the report to this file as JSON.
    #[arg(long)]
    pub json_file: Option<PathBuf>,
    /// Write the report to this file as a page with charts.
    #[arg(long)]
    pub html_file: Option<PathBuf>,
}

impl Options {
    /// Returns the duration of a round of one target.
    pub(crate) fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::from_secs(5))
    }
}
