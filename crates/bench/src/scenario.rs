//! The scenarios. Each prepares every target once, then measures them in turn.

mod app_services;
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
mod pushers;
mod search;
mod send;
mod sliding_initial;
mod sync_idle;
mod sync_initial;
mod wide_send;

use std::time::Duration;

use futures_util::future::try_join_all;
use plexus_base::Clock;

use crate::options::Scenario;
use crate::round::Round;
use crate::run::Run;
use crate::target::{Target, TargetError};
use crate::user::User;

/// Measures every target `rounds` times.
pub(crate) async fn measure(scenario: Scenario, run: &mut Run) -> Result<(), TargetError> {
    match scenario {
        Scenario::Send => send::measure("send", run.options.users, run).await,
        Scenario::SendOneRoom => send::measure("send-one-room", 1, run).await,
        Scenario::SyncIdle => sync_idle::measure(run).await,
        Scenario::SyncInitial => sync_initial::measure(run).await,
        Scenario::SlidingInitial => sliding_initial::measure(run).await,
        Scenario::Fanout => fanout::measure(run).await,
        Scenario::WideSend => wide_send::measure(run).await,
        Scenario::History => history::measure(run).await,
        Scenario::Search => search::measure(run).await,
        Scenario::CreateRoom => create_room::measure(run).await,
        Scenario::JoinLeave => join_leave::measure(run).await,
        Scenario::E2ee => e2ee::measure(run).await,
        Scenario::Mixed => mixed::measure(run).await,
        Scenario::AppServices => app_services::measure(run).await,
        Scenario::Pushers => pushers::measure(run).await,
        Scenario::Connections => connections::measure(run).await,
        Scenario::Media => media::measure(run).await,
        Scenario::FedSend => fed_send::measure(run).await,
        Scenario::FedJoinLarge => fed_join_large::measure(run).await,
        Scenario::Footprint => footprint::measure(run).await,
        Scenario::Generator => generator::measure(run).await,
        Scenario::Growth => growth::measure(run).await,
        Scenario::GrowthRooms => growth_rooms::measure(run).await,
    }
}

/// Runs `act` concurrently for each user, repeatedly until the round is over. `act` gets the user's number.
async fn repeat(
    run: &Run,
    target: &Target,
    users: &mut [User],
    act: impl AsyncFn(&mut User, usize) -> Result<(), TargetError>,
) -> Result<Round, TargetError> {
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
    Ok(Round { times, seconds, processor: spent(used, target) })
}

/// Returns the duration of `act` in milliseconds.
async fn timed(clock: &Clock, act: impl Future<Output = Result<(), TargetError>>) -> Result<f64, TargetError> {
    let before = clock.monotonic();
    act.await?;
    Ok(millis(clock.monotonic() - before))
}

/// Returns the processor seconds of the target's process since it had used `before`.
fn spent(before: Option<f64>, target: &Target) -> Option<f64> {
    Some(target.processor_seconds()? - before?)
}

async fn users(target: &Target, count: usize) -> Result<Vec<User>, TargetError> {
    let mut users = Vec::new();
    for _ in 0..count {
        users.push(User::register(target).await?);
    }
    Ok(users)
}

/// Registers many users, a few at a time, who join `room_id`, which must be open to guests.
async fn crowd(target: &Target, count: usize, room_id: &str) -> Result<Vec<User>, TargetError> {
    const AT_ONCE: usize = 20;
    let mut users = Vec::new();
    while users.len() < count {
        let more = (0..AT_ONCE.min(count - users.len())).map(async |_| {
            let mut user = User::register_guest(target).await?;
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
