//! The first sync of an account that is in many rooms.

use plexus_base::Clock;

use crate::Options;
use crate::report::{Better, Report};
use crate::target::{Target, TargetError};

use super::millis;

pub async fn measure(options: &Options, targets: &[Target], report: &mut Report) -> Result<(), TargetError> {
    let clock = Clock::system();
    let name = format!("sync-initial, {} rooms", options.rooms);
    let mut accounts = Vec::new();
    for target in targets {
        let mut user = target.user().await?;
        for _ in 0..options.rooms {
            let room_id = user.create_room().await?;
            user.send(&room_id, "a message").await?;
        }
        accounts.push(user);
    }
    for _ in 0..options.rounds {
        for (index, user) in accounts.iter_mut().enumerate() {
            let before = clock.monotonic();
            let (_, bytes) = user.sync(None, 0).await?;
            report.add(&name, ("time", "ms", Better::Less), index, millis(clock.monotonic() - before));
            #[expect(clippy::cast_precision_loss, reason = "answers are far below 2^52 bytes")]
            report.add(&name, ("answer", "KiB", Better::Less), index, bytes as f64 / 1024.0);
        }
    }
    Ok(())
}
