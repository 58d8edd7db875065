//! Users with nothing new to sync.

use std::collections::HashMap;
use std::rc::Rc;

use crate::Options;
use crate::report::{Better, Report};
use crate::target::{Target, TargetError, User};

use super::{count, repeat, users};

pub async fn measure(options: &Options, targets: &[Target], report: &mut Report) -> Result<(), TargetError> {
    let mut prepared = Vec::new();
    for target in targets {
        let mut users = users(target, options.users).await?;
        let mut paths = HashMap::new();
        for user in &mut users {
            user.create_room().await?;
            let (mut since, _) = user.sync(None, 0).await?;
            // Once more, so that what the first sync itself set off has been seen.
            (since, _) = user.sync(Some(&since), 0).await?;
            paths.insert(user.user_id.clone(), format!("/_matrix/client/v3/sync?timeout=0&since={since}"));
        }
        prepared.push((Some(users), Rc::new(paths)));
    }
    for _ in 0..options.rounds {
        for (index, (slot, paths)) in prepared.iter_mut().enumerate() {
            let Some(users) = slot.take() else { continue };
            let paths = Rc::clone(paths);
            let act = async move |user: &mut User, _: usize| {
                let path = paths.get(&user.user_id).map_or("", String::as_str);
                user.sync_unread(path).await
            };
            let (users, times, seconds) = repeat(users, options.duration(), act).await?;
            report.add("sync-idle", ("syncs", "per second", Better::More), index, count(&times) / seconds);
            *slot = Some(users);
        }
    }
    Ok(())
}
