//! The initial sync of an account in many rooms, each on a new device: Synapse would serve the same device from a
//! cache.

use crate::report::Better;
use crate::run::Run;
use crate::target::TargetError;
use crate::user::User;

use super::{millis, send::MESSAGE};

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let name = format!("sync-initial, {} rooms", run.options.rooms);
    let targets = run.targets.clone();
    let mut accounts = Vec::new();
    for target in targets.iter() {
        let mut user = User::register(target).await?;
        for _ in 0..run.options.rooms {
            let room_id = user.create_room().await?;
            user.send(&room_id, MESSAGE).await?;
        }
        accounts.push(user);
    }
    for _ in 0..run.options.rounds {
        for (index, user) in accounts.iter().enumerate() {
            let mut device = User::log_in(&targets[index], &user.user_id).await?;
            run.rest().await;
            let before = run.clock.monotonic();
            let (_, bytes) = device.sync(None, 0).await?;
            let time = millis(run.clock.monotonic() - before);
            run.add(&name, ("time", "ms", Better::Less), index, time);
            #[expect(clippy::cast_precision_loss, reason = "answers are far below 2^52 bytes")]
            run.add(&name, ("answer", "KiB", Better::Less), index, bytes as f64 / 1024.0);
        }
    }
    Ok(())
}
