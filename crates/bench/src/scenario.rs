//! What can be measured. Each scenario prepares every target once, then drives them in turn.

mod create_room;
mod fanout;
mod send;
mod sync_idle;
mod sync_initial;

use std::time::Duration;

use plexus_base::Clock;

use crate::Options;
use crate::report::Report;
use crate::target::{Target, TargetError, User};

/// A scenario, by its name on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
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
    /// Making a room: milliseconds.
    CreateRoom,
}

impl Scenario {
    /// Measures every target `rounds` times.
    pub async fn measure(self, options: &Options, targets: &[Target], report: &mut Report) -> Result<(), TargetError> {
        match self {
            Self::Send => send::measure("send", options.users, options, targets, report).await,
            Self::SendOneRoom => send::measure("send-one-room", 1, options, targets, report).await,
            Self::SyncIdle => sync_idle::measure(options, targets, report).await,
            Self::SyncInitial => sync_initial::measure(options, targets, report).await,
            Self::Fanout => fanout::measure(options, targets, report).await,
            Self::CreateRoom => create_room::measure(options, targets, report).await,
        }
    }
}

impl Options {
    fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::from_secs(5))
    }
}

/// Runs `act` for each user at the same time, again and again until `duration` is over. Returns each act's duration in
/// milliseconds, and the seconds all of it took.
async fn repeat<F>(users: Vec<User>, duration: Duration, act: F) -> Result<(Vec<User>, Vec<f64>, f64), TargetError>
where
    F: AsyncFn(&mut User, usize) -> Result<(), TargetError> + Clone + 'static,
{
    let clock = Clock::system();
    let started = clock.monotonic();
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = users
        .into_iter()
        .enumerate()
        .map(|(index, mut user)| {
            let (clock, act) = (clock.clone(), act.clone());
            local.spawn_local(async move {
                let mut times = Vec::new();
                while clock.monotonic() - started < duration {
                    let before = clock.monotonic();
                    act(&mut user, index).await?;
                    times.push(millis(clock.monotonic() - before));
                }
                Ok::<_, TargetError>((user, times))
            })
        })
        .collect();
    let collect = async {
        let (mut users, mut times) = (Vec::new(), Vec::new());
        for task in tasks {
            let (user, more) = task.await.map_err(std::io::Error::other)??;
            users.push(user);
            times.extend(more);
        }
        Ok::<_, TargetError>((users, times))
    };
    let (users, times) = local.run_until(collect).await?;
    Ok((users, times, (clock.monotonic() - started).as_secs_f64()))
}

async fn users(target: &Target, count: usize) -> Result<Vec<User>, TargetError> {
    let mut users = Vec::new();
    for _ in 0..count {
        users.push(target.user().await?);
    }
    Ok(users)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// How many there were, for a rate.
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn count(times: &[f64]) -> f64 {
    times.len() as f64
}
