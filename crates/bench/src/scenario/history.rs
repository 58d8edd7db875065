//! Paging back through a room's history.

use serde_json::Value;

use crate::run::Run;
use crate::target::{CLIENT, TargetError};
use crate::user::{User, encode};

use super::{repeat, send::MESSAGE, users};

/// Events per page.
const PAGE: usize = 50;

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let name = format!("history, {} messages", run.options.messages);
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut users = users(target, run.options.users).await?;
        let room_id = users[0].create_room().await?;
        for user in users.iter_mut().skip(1) {
            user.join(&room_id).await?;
        }
        let each = run.options.messages.div_ceil(users.len());
        let fill = users.iter_mut().map(async |user: &mut User| {
            for _ in 0..each {
                user.send(&room_id, MESSAGE).await?;
            }
            Ok::<_, TargetError>(())
        });
        futures_util::future::try_join_all(fill).await?;
        prepared.push((users, room_id));
    }
    for _ in 0..run.options.rounds {
        for (index, (users, room_id)) in prepared.iter_mut().enumerate() {
            let path = format!("{CLIENT}/rooms/{}/messages?dir=b&limit={PAGE}", encode(room_id));
            // Each user has a token for the next page, `None` at the newest end.
            let places: Vec<_> = users.iter().map(|_| std::cell::RefCell::new(String::new())).collect();
            let act = async |user: &mut User, number: usize| {
                let page = format!("{path}{}", places[number].borrow());
                let answer = user.call("GET", &page, None).await?;
                let more = answer.get("end").and_then(Value::as_str).map(|end| format!("&from={end}"));
                places[number].replace(more.unwrap_or_default());
                Ok(())
            };
            let round = repeat(run, &targets[index], users, act).await?;
            run.rate(&name, "pages", index, &round);
        }
    }
    Ok(())
}
