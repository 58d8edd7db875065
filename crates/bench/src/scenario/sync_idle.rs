//! Users with nothing new to sync.

use crate::run::Run;
use crate::target::{CLIENT, TargetError};
use crate::user::User;

use super::{repeat, users};

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut users = users(target, run.options.users).await?;
        let mut paths = Vec::new();
        for user in &mut users {
            user.create_room().await?;
            let (mut since, _) = user.sync(None, 0).await?;
            // Once more, to consume the effects of the first sync.
            (since, _) = user.sync(Some(&since), 0).await?;
            paths.push(format!("{CLIENT}/sync?timeout=0&since={since}"));
        }
        prepared.push((users, paths));
    }
    for _ in 0..run.options.rounds {
        for (index, (users, paths)) in prepared.iter_mut().enumerate() {
            let act = async |user: &mut User, number: usize| user.get(&paths[number]).await;
            let round = repeat(run, &targets[index], users, act).await?;
            run.rate("sync-idle", "syncs", index, &round);
        }
    }
    Ok(())
}
