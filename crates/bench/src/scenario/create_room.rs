//! Making rooms, one after the other.

use crate::Options;
use crate::report::{Better, Report};
use crate::stats::median;
use crate::target::{Target, TargetError, User};

use super::{repeat, users};

pub async fn measure(options: &Options, targets: &[Target], report: &mut Report) -> Result<(), TargetError> {
    let mut prepared = Vec::new();
    for target in targets {
        prepared.push(Some(users(target, 1).await?));
    }
    for _ in 0..options.rounds {
        for (index, slot) in prepared.iter_mut().enumerate() {
            let Some(users) = slot.take() else { continue };
            let act = async |user: &mut User, _: usize| user.create_room().await.map(drop);
            let (users, times, _) = repeat(users, options.duration(), act).await?;
            if let Some(time) = median(&times) {
                report.add("create-room", ("time", "ms", Better::Less), index, time);
            }
            *slot = Some(users);
        }
    }
    Ok(())
}
