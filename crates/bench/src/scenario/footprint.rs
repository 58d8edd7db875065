//! The same amount of work for every target, and the memory in use afterwards: rooms, messages, initial syncs of new
//! devices. In rounds of fixed duration, a server that does a hundred times the work would have a hundred times as much
//! to store.

use futures_util::future::try_join_all;

use crate::run::Run;
use crate::target::{Target, TargetError};
use crate::user::User;

use super::{send::MESSAGE, users};

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
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
