//! One message, many who wait for it.

use plexus_base::Clock;

use crate::Options;
use crate::report::{Better, Report};
use crate::stats::percentile;
use crate::target::{Target, TargetError, User};

use super::{millis, users};

/// Messages a round.
const MESSAGES: usize = 10;
/// How long a waiting sync may take, in milliseconds: longer than any message should.
const WAIT_MS: u64 = 20_000;

struct Room {
    room_id: String,
    sender: User,
    waiters: Vec<(User, String)>,
}

pub async fn measure(options: &Options, targets: &[Target], report: &mut Report) -> Result<(), TargetError> {
    let mut rooms = Vec::new();
    for target in targets {
        rooms.push(Some(prepare(target, options.waiters).await?));
    }
    let name = format!("fanout to {}", options.waiters);
    for _ in 0..options.rounds {
        for (index, slot) in rooms.iter_mut().enumerate() {
            let Some(mut room) = slot.take() else { continue };
            for _ in 0..MESSAGES {
                let times;
                (room, times) = one_message(room).await?;
                for (what, percent) in [("first receiver", 0), ("median receiver", 50), ("last receiver", 100)] {
                    if let Some(time) = percentile(&times, percent) {
                        report.add(&name, (what, "ms", Better::Less), index, time);
                    }
                }
            }
            *slot = Some(room);
        }
    }
    Ok(())
}

async fn prepare(target: &Target, waiters: usize) -> Result<Room, TargetError> {
    let mut sender = target.user().await?;
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

/// Lets everybody wait, sends, and returns when each received it, in milliseconds after the sender began.
async fn one_message(mut room: Room) -> Result<(Room, Vec<f64>), TargetError> {
    let clock = Clock::system();
    let local = tokio::task::LocalSet::new();
    let sent = std::rc::Rc::new(std::cell::Cell::new(clock.monotonic()));
    let tasks: Vec<_> = room
        .waiters
        .drain(..)
        .map(|(mut user, mut since)| {
            let (clock, sent) = (clock.clone(), std::rc::Rc::clone(&sent));
            local.spawn_local(async move {
                // Whatever came before the message (presence, the last message) is taken out of the way first.
                (since, _) = user.sync(Some(&since), 0).await?;
                let (next, _) = user.sync(Some(&since), WAIT_MS).await?;
                Ok::<_, TargetError>((user, next, millis(clock.monotonic() - sent.get())))
            })
        })
        .collect();
    let drive = async {
        // Time for every waiter's request to reach the server: what is measured begins when all of them wait.
        clock.sleep(std::time::Duration::from_millis(300)).await;
        sent.set(clock.monotonic());
        room.sender.send(&room.room_id, "wake up").await?;
        let mut times = Vec::new();
        for task in tasks {
            let (user, since, time) = task.await.map_err(std::io::Error::other)??;
            room.waiters.push((user, since));
            times.push(time);
        }
        Ok::<_, TargetError>((room, times))
    };
    local.run_until(drive).await
}
