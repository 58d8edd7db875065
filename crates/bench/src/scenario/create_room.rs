//! Creating rooms, one after the other.

use crate::report::Better;
use crate::run::Run;
use crate::target::TargetError;
use crate::user::User;

use super::{repeat, users};

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        prepared.push(users(target, 1).await?);
    }
    for _ in 0..run.options.rounds {
        for (index, users) in prepared.iter_mut().enumerate() {
            let act = async |user: &mut User, _| user.create_room().await.map(drop);
            let round = repeat(run, &targets[index], users, act).await?;
            run.add("create-room", ("time", "ms", Better::Less), index, round.percentile(50));
            run.cost("create-room", "rooms", index, &round);
        }
    }
    Ok(())
}
