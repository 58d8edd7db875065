//! Users who repeatedly join and leave one room.

use crate::run::Run;
use crate::target::{CLIENT, TargetError};
use crate::user::{User, encode};

use super::{repeat, users};

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut owner = User::register(target).await?;
        prepared.push((users(target, run.options.users).await?, owner.create_room().await?));
    }
    for _ in 0..run.options.rounds {
        for (index, (users, room_id)) in prepared.iter_mut().enumerate() {
            let leave = format!("{CLIENT}/rooms/{}/leave", encode(room_id));
            let act = async |user: &mut User, _| {
                user.join(room_id).await?;
                user.post(&leave, "{}").await
            };
            let round = repeat(run, &targets[index], users, act).await?;
            run.rate("join-leave", "joins with leaves", index, &round);
        }
    }
    Ok(())
}
