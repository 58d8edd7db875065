//! One message to many waiting users.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use plexus_base::Clock;

use crate::report::Better;
use crate::run::Run;
use crate::stats::percentile;
use crate::target::{Target, TargetError};
use crate::user::User;

use super::{millis, users};

/// Messages per round.
const MESSAGES: usize = 10;
/// The timeout of a waiting sync, in milliseconds: longer than any message should take.
const WAIT_MS: u64 = 20_000;
/// Time for the requests of all waiting users to reach the server: the measurement begins when all of them wait.
const SETTLE: Duration = Duration::from_millis(300);

struct Room {
    room_id: String,
    sender: User,
    waiters: Vec<(User, String)>,
}

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut rooms = Vec::new();
    for target in targets.iter() {
        rooms.push(prepare(target, run.options.waiters).await?);
    }
    let name = format!("fanout to {}", run.options.waiters);
    for _ in 0..run.options.rounds {
        for (index, room) in rooms.iter_mut().enumerate() {
            run.rest().await;
            for _ in 0..MESSAGES {
                let times = one_message(&run.clock, room).await?;
                for (what, percent) in [("first receiver", 0), ("median receiver", 50), ("last receiver", 100)] {
                    if let Some(time) = percentile(&times, percent) {
                        run.add(&name, (what, "ms", Better::Less), index, time);
                    }
                }
            }
        }
    }
    Ok(())
}

async fn prepare(target: &Target, waiters: usize) -> Result<Room, TargetError> {
    let mut sender = User::register(target).await?;
    let room_id = sender.create_room().await?;
    let mut joined = users(target, waiters).await?;
    for user in &mut joined {
        user.join(&room_id).await?;
    }
    let mut waiting = Vec::new();
    for mut user in joined {
        let (since, _) = user.sync(None, 0).await?;
        waiting.push((user, since));
    }
    Ok(Room { room_id, sender, waiters: waiting })
}

/// Keeps all syncs waiting, sends a message, and returns when each received it, in milliseconds after sending began.
async fn one_message(clock: &Clock, room: &mut Room) -> Result<Vec<f64>, TargetError> {
    let sent = Cell::new(clock.monotonic());
    let receive = try_join_all(room.waiters.iter_mut().map(async |(user, since)| {
        // Earlier events (presence, the last message) are consumed first.
        let (before, _) = user.sync(Some(since), 0).await?;
        (*since, _) = user.sync(Some(&before), WAIT_MS).await?;
        Ok::<_, TargetError>(millis(clock.monotonic() - sent.get()))
    }));
    let send = async {
        clock.sleep(SETTLE).await;
        sent.set(clock.monotonic());
        room.sender.send(&room.room_id, "wake up").await
    };
    let (times, ()) = try_join(receive, send).await?;
    Ok(times)
}
