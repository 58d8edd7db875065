//! The same work for every target, and the memory it leaves: rooms made, messages sent, first syncs of new devices.
//! Where rounds last some seconds, a server that does a hundred times the work has a hundred times as much to remember.

use futures_util::future::try_join_all;

use crate::run::Run;
use crate::target::{Target, TargetError};
use crate::user::User;

use super::{send::MESSAGE, users};

pub async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let (rooms, messages) = (run.options.rooms, run.options.messages);
    let name = format!("footprint, {rooms} rooms, {messages} messages");
    let targets = run.targets.clone();
    run.forget_peaks();
    for target in targets.iter() {
        let mut users = users(target, run.options.users).await?;
        let (rooms, messages) = (rooms.div_ceil(users.len()), messages.div_ceil(users.len()));
        try_join_all(users.iter_mut().map(|user| work(target, user, rooms, messages))).await?;
    }
    run.rest().await;
    run.memory(&name);
    Ok(())
}

async fn work(target: &Target, user: &mut User, rooms: usize, messages: usize) -> Result<(), TargetError> {
    let mut made = Vec::new();
    for _ in 0..rooms.max(1) {
        made.push(user.create_room().await?);
    }
    for number in 0..messages {
        user.send(&made[number % made.len()], MESSAGE).await?;
    }
    User::log_in(target, &user.user_id).await?.sync(None, 0).await?;
    Ok(())
}
