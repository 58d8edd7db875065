//! N senders in some rooms.

use crate::run::Run;
use crate::target::TargetError;
use crate::user::User;

use super::{repeat, users};

/// The text of messages, here and in other scenarios.
pub(super) const MESSAGE: &str = "a message of some forty letters or so";

pub(super) async fn measure(name: &str, rooms: usize, run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut users = users(target, run.options.users).await?;
        let mut room_ids: Vec<String> = Vec::new();
        for (index, user) in users.iter_mut().enumerate() {
            if index < rooms {
                room_ids.push(user.create_room().await?);
            } else {
                user.join(&room_ids[index % rooms]).await?;
            }
        }
        prepared.push((users, room_ids));
    }
    run.forget_peaks();
    for _ in 0..run.options.rounds {
        for (index, (users, room_ids)) in prepared.iter_mut().enumerate() {
            let act = async |user: &mut User, number: usize| {
                let room_id = &room_ids[number % room_ids.len()];
                user.send(room_id, MESSAGE).await
            };
            let round = repeat(run, &targets[index], users, act).await?;
            run.rate(name, "messages", index, &round);
        }
    }
    run.memory(name);
    Ok(())
}
