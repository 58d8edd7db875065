//! The command line.

use std::path::PathBuf;
use std::time::Duration;

/// A scenario, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// N senders in N rooms: messages a second.
    Send,
    /// N senders in one room: messages a second.
    SendOneRoom,
    /// N users with nothing new to sync: syncs a second.
    SyncIdle,
    /// A first sync of an account with R rooms: milliseconds.
    SyncInitial,
    /// W users wait in one room: milliseconds from a message's sending to its receiving.
    Fanout,
    /// N senders in a room with 10, 1,000, ... local members: messages a second.
    WideSend,
    /// Paging a room's history back: pages a second.
    History,
    /// Making a room: milliseconds.
    CreateRoom,
    /// Joining and leaving a room again and again: joins and leaves a second.
    JoinLeave,
    /// Keys of devices uploaded and claimed, messages to devices.
    E2ee,
    /// A day of a real server compressed: many who wait, some who type, read, write and look.
    Mixed,
    /// Thousands of open long-polls: memory, and how long waking them takes.
    Connections,
    /// Uploads and downloads a second.
    Media,
    /// Messages of another server, from 1 and from 100 servers: PDUs a second until all of them are there.
    FedSend,
    /// Joining a room of another server with 20,000 members: seconds, and the most memory.
    FedJoinLarge,
    /// The memory that the same work leaves.
    Footprint,
    /// What a request costs this program itself, against a server that does nothing.
    Generator,
    /// The message rate as the database grows.
    Growth,
    /// What messages and syncs cost as an account is in more and more rooms.
    GrowthRooms,
}

/// How a run is set up.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What to measure; several may be given.
    #[arg(required = true, value_enum)]
    pub scenarios: Vec<Scenario>,
    /// A homeserver's base URL, http://HOST:PORT; with `NAME=` before it, the name used in the report. Repeatable.
    #[arg(long = "target", required = true)]
    pub targets: Vec<String>,
    /// The process of a target on this machine, for memory and processor time; repeatable, in the targets' order.
    #[arg(long = "pid")]
    pub pids: Vec<u32>,
    /// The targets' `registration_shared_secret`; without it, users are made by open registration.
    #[arg(long)]
    pub shared_secret: Option<String>,
    /// How often each target is driven.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// How long one round drives one target, in seconds.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// After how many seconds a scenario is given up; what it measured until then is kept.
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
    /// Users of `mixed`; each waits all the time.
    #[arg(long, default_value_t = 100)]
    pub crowd: usize,
    /// What all users of `mixed` do together, in acts a second.
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
    /// State events of the room of `fed-join-large`, members included.
    #[arg(long, default_value_t = 30_000)]
    pub room_state: usize,
    /// Events in the database at which `growth` measures.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    pub events: Vec<usize>,
    /// Rooms of one account at which `growth-rooms` measures.
    #[arg(long, value_delimiter = ',', default_value = "10,200,2000")]
    pub account_rooms: Vec<usize>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Write the report here as JSON too.
    #[arg(long)]
    pub json_file: Option<PathBuf>,
    /// Write the report here as a page with charts.
    #[arg(long)]
    pub html_file: Option<PathBuf>,
}

impl Options {
    /// How long one round drives one target.
    pub fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::from_secs(5))
    }
}
