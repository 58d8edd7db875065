//! What can be measured. Each scenario prepares every target once, then drives them in turn.

mod connections;
mod create_room;
mod e2ee;
mod fanout;
mod fed_join_large;
mod fed_send;
mod footprint;
mod generator;
mod growth;
mod growth_rooms;
mod history;
mod join_leave;
mod media;
mod mixed;
mod send;
mod sync_idle;
mod sync_initial;
mod wide_send;

use std::time::Duration;

use futures_util::future::try_join_all;
use plexus_base::Clock;

use crate::run::Run;
use crate::stats::percentile;
use crate::target::{Target, TargetError};
use crate::user::User;

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
    /// Thousands of open long-polls: memory, and the time of those that wake up.
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

impl Scenario {
    /// Measures every target `rounds` times.
    pub async fn measure(self, run: &mut Run) -> Result<(), TargetError> {
        match self {
            Self::Send => send::measure("send", run.options.users, run).await,
            Self::SendOneRoom => send::measure("send-one-room", 1, run).await,
            Self::SyncIdle => sync_idle::measure(run).await,
            Self::SyncInitial => sync_initial::measure(run).await,
            Self::Fanout => fanout::measure(run).await,
            Self::WideSend => wide_send::measure(run).await,
            Self::History => history::measure(run).await,
            Self::CreateRoom => create_room::measure(run).await,
            Self::JoinLeave => join_leave::measure(run).await,
            Self::E2ee => e2ee::measure(run).await,
            Self::Mixed => mixed::measure(run).await,
            Self::Connections => connections::measure(run).await,
            Self::Media => media::measure(run).await,
            Self::FedSend => fed_send::measure(run).await,
            Self::FedJoinLarge => fed_join_large::measure(run).await,
            Self::Footprint => footprint::measure(run).await,
            Self::Generator => generator::measure(run).await,
            Self::Growth => growth::measure(run).await,
            Self::GrowthRooms => growth_rooms::measure(run).await,
        }
    }
}

/// What a round of one target came to.
#[derive(Debug)]
pub struct Acts {
    /// Each act's duration in milliseconds.
    pub times: Vec<f64>,
    /// The seconds that all of it took.
    pub seconds: f64,
    /// The processor time that the server's process used meanwhile, in seconds.
    pub processor: Option<f64>,
}

impl Acts {
    /// How many there were.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    pub fn count(&self) -> f64 {
        self.times.len() as f64
    }

    /// The `percent`th percentile of the durations in milliseconds; 0 when there are none.
    pub fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.times, percent).unwrap_or_default()
    }
}

/// Runs `act` for each user at the same time, again and again until the round is over. `act` gets the user's number.
async fn repeat(
    run: &Run,
    target: &Target,
    users: &mut [User],
    act: impl AsyncFn(&mut User, usize) -> Result<(), TargetError>,
) -> Result<Acts, TargetError> {
    run.rest().await;
    let (clock, duration) = (&run.clock, run.options.duration());
    let (started, used) = (clock.monotonic(), target.processor_seconds());
    let drives = users.iter_mut().enumerate().map(|(index, user)| {
        let act = &act;
        async move {
            let mut times = Vec::new();
            while clock.monotonic() - started < duration {
                times.push(timed(clock, act(user, index)).await?);
            }
            Ok::<_, TargetError>(times)
        }
    });
    let times = try_join_all(drives).await?.concat();
    let seconds = (clock.monotonic() - started).as_secs_f64();
    Ok(Acts { times, seconds, processor: spent(used, target) })
}

/// How long `act` takes, in milliseconds.
async fn timed(clock: &Clock, act: impl Future<Output = Result<(), TargetError>>) -> Result<f64, TargetError> {
    let before = clock.monotonic();
    act.await?;
    Ok(millis(clock.monotonic() - before))
}

/// Processor seconds of the target's process since it had used `before`.
fn spent(before: Option<f64>, target: &Target) -> Option<f64> {
    Some(target.processor_seconds()? - before?)
}

async fn users(target: &Target, count: usize) -> Result<Vec<User>, TargetError> {
    let mut users = Vec::new();
    for _ in 0..count {
        users.push(target.user().await?);
    }
    Ok(users)
}

/// Many users, registered a few at a time, who have joined `room_id`, which must be open to guests.
async fn crowd(target: &Target, count: usize, room_id: &str) -> Result<Vec<User>, TargetError> {
    const AT_ONCE: usize = 20;
    let mut users = Vec::new();
    while users.len() < count {
        let more = (0..AT_ONCE.min(count - users.len())).map(async |_| {
            let mut user = target.guest().await?;
            user.join(room_id).await?;
            Ok::<_, TargetError>(user)
        });
        users.extend(try_join_all(more).await?);
    }
    Ok(users)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
