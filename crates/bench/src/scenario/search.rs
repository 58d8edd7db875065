//! Searching the messages of a room for a word that one in a hundred has.

use std::time::Duration;

use serde_json::{Value, json};

use crate::run::Run;
use crate::target::{CLIENT, TargetError};
use crate::user::User;

use super::{repeat, users};

/// How many different words the messages have.
const WORDS: usize = 100;
/// The interval between two looks whether all messages are found: servers index them in the background.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long they may take for that.
const PATIENCE: Duration = Duration::from_secs(120);

fn word(number: usize) -> String {
    format!("lorem{}", number % WORDS)
}

fn body(number: usize, order: &str) -> Value {
    let search = json!({ "search_term": word(number), "keys": ["content.body"], "order_by": order });
    json!({ "search_categories": { "room_events": search } })
}

/// Returns how many messages are found.
async fn search(user: &mut User, number: usize, order: &str) -> Result<u64, TargetError> {
    let answer = user.call("POST", &format!("{CLIENT}/search"), Some(&body(number, order))).await?;
    Ok(answer["search_categories"]["room_events"]["count"].as_u64().unwrap_or_default())
}

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let name = format!("search, {} messages", run.options.messages);
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut users = users(target, run.options.users).await?;
        let room_id = users[0].create_room().await?;
        for user in users.iter_mut().skip(1) {
            user.join(&room_id).await?;
        }
        for number in 0..run.options.messages {
            let text = format!("{} ipsum dolor sit amet, message {number} of many", word(number));
            users[0].send(&room_id, &text).await?;
        }
        let last = run.options.messages.saturating_sub(1);
        let expected = (0..run.options.messages).filter(|number| word(*number) == word(last)).count() as u64;
        let started = run.clock.monotonic();
        while search(&mut users[0], last, "recent").await? < expected {
            if run.clock.monotonic() - started > PATIENCE {
                return Err(TargetError::Late { what: "the index".to_owned(), seconds: PATIENCE.as_secs() });
            }
            run.clock.sleep(LOOK_INTERVAL).await;
        }
        prepared.push(users);
    }
    for order in ["recent", "rank"] {
        for _ in 0..run.options.rounds {
            for (index, users) in prepared.iter_mut().enumerate() {
                let act = async |user: &mut User, number: usize| {
                    search(user, number, order).await?;
                    Ok(())
                };
                let round = repeat(run, &targets[index], users, act).await?;
                run.rate(&name, &format!("searches by {order}"), index, &round);
            }
        }
    }
    Ok(())
}
