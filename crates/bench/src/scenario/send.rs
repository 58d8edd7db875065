//! N senders in some rooms.

use crate::Options;
use crate::report::{Better, Report};
use crate::stats::percentile;
use crate::target::{Target, TargetError};

use super::{count, repeat, users};

pub async fn measure(
    name: &str,
    rooms: usize,
    options: &Options,
    targets: &[Target],
    report: &mut Report,
) -> Result<(), TargetError> {
    let mut prepared = Vec::new();
    for target in targets {
        let mut users = users(target, options.users).await?;
        let mut room_ids: Vec<String> = Vec::new();
        for (index, user) in users.iter_mut().enumerate() {
            if index < rooms {
                room_ids.push(user.create_room().await?);
            } else {
                user.join(&room_ids[index % rooms]).await?;
            }
        }
        prepared.push(Some((users, room_ids)));
    }
    for _ in 0..options.rounds {
        for (index, slot) in prepared.iter_mut().enumerate() {
            let Some((users, room_ids)) = slot.take() else { continue };
            let ids = room_ids.clone();
            let act = async move |user: &mut crate::target::User, number: usize| {
                user.send(&ids[number % ids.len()], "a message of some forty letters or so").await
            };
            let (users, times, seconds) = repeat(users, options.duration(), act).await?;
            report.add(name, ("messages", "per second", Better::More), index, count(&times) / seconds);
            if let Some(slow) = percentile(&times, 99) {
                report.add(name, ("99th percentile", "ms", Better::Less), index, slow);
            }
            *slot = Some((users, room_ids));
        }
    }
    Ok(())
}
