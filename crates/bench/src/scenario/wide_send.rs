//! Senders in rooms with few and with many local members.

use crate::report::Better;
use crate::run::Run;
use crate::target::TargetError;
use crate::user::User;

use super::{crowd, repeat, send::MESSAGE, users};

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let sizes = run.options.members.clone();
    for (index, target) in targets.iter().enumerate() {
        let mut rooms = Vec::new();
        for size in &sizes {
            let mut senders = users(target, run.options.users).await?;
            let room_id = senders[0].create_open_room().await?;
            for sender in senders.iter_mut().skip(1) {
                sender.join(&room_id).await?;
            }
            drop(crowd(target, size.saturating_sub(senders.len()), &room_id).await?);
            rooms.push((senders, room_id, Vec::new()));
        }
        for _ in 0..run.options.rounds {
            for (size, (senders, room_id, rates)) in sizes.iter().zip(&mut rooms) {
                let act = async |user: &mut User, _| user.send(room_id, MESSAGE).await;
                let round = repeat(run, target, senders, act).await?;
                run.rate(&format!("wide-send, {size} members"), "messages", index, &round);
                rates.push(round.count() / round.seconds);
            }
        }
        let rates: Vec<_> = rooms.into_iter().map(|(_, _, rates)| rates).collect();
        if let ([few, .., many], [small, .., large]) = (&*rates, &*sizes) {
            let name = format!("wide-send, {large} members against {small}");
            for (few, many) in few.iter().zip(many) {
                run.add(&name, ("messages", "times", Better::More), index, many / few);
            }
        }
    }
    Ok(())
}
