//! The cost of messages and syncs as an account joins more rooms.

use crate::report::Better;
use crate::run::Run;
use crate::target::TargetError;
use crate::user::User;

use super::{millis, repeat, send::MESSAGE};

/// Syncs per round, each after one message.
const SYNCS: usize = 20;

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut accounts = Vec::new();
    for target in targets.iter() {
        let user = User::register(target).await?;
        accounts.push((vec![user.again(target).await?], user, Vec::new()));
    }
    for size in run.options.account_rooms.clone() {
        let name = format!("growth-rooms, {size} rooms");
        for (_, user, rooms) in &mut accounts {
            while rooms.len() < size {
                rooms.push(user.create_room().await?);
            }
        }
        for _ in 0..run.options.rounds {
            for (index, (sender, user, rooms)) in accounts.iter_mut().enumerate() {
                let next = std::cell::Cell::new(0);
                let act = async |user: &mut User, _| {
                    next.set(next.get() + 1);
                    user.send(&rooms[next.get() % rooms.len()], MESSAGE).await
                };
                let round = repeat(run, &targets[index], sender, act).await?;
                run.rate(&name, "messages of one sender", index, &round);
                syncs(run, &name, index, user, rooms).await?;
            }
        }
    }
    Ok(())
}

/// Repeatedly sends a message and syncs it, and records how long the syncs took.
async fn syncs(run: &mut Run, name: &str, index: usize, user: &mut User, rooms: &[String]) -> Result<(), TargetError> {
    let (mut since, _) = user.sync(None, 0).await?;
    (since, _) = user.sync(Some(&since), 0).await?;
    for number in 0..SYNCS {
        user.send(&rooms[number % rooms.len()], MESSAGE).await?;
        let before = run.clock.monotonic();
        (since, _) = user.sync(Some(&since), 0).await?;
        let time = millis(run.clock.monotonic() - before);
        run.add(name, ("sync of one message", "ms", Better::Less), index, time);
    }
    Ok(())
}
