//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::scenario::Scenario;

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
    /// Users of `mixed`, each of whom waits all the time.
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
