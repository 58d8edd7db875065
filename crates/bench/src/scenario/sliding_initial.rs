//! Simplified sliding sync of an account in many rooms: the first response for a window of twenty rooms, on new
//! connections, and responses with one new message.

use serde_json::json;

use crate::report::Better;
use crate::run::Run;
use crate::target::TargetError;
use crate::user::User;

use super::{millis, send::MESSAGE};

const PATH: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
/// How many messages are synced one by one in a round.
const MESSAGES: u32 = 20;

/// What a client's room list asks for.
fn body(connection: usize) -> serde_json::Value {
    let state = [["m.room.name", ""], ["m.room.encryption", ""], ["m.room.member", "$LAZY"], ["m.room.member", "$ME"]];
    let list = json!({ "ranges": [[0, 19]], "timeline_limit": 1, "required_state": state });
    let extensions = json!({ "account_data": { "enabled": true }, "receipts": { "enabled": true } });
    json!({ "conn_id": connection.to_string(), "lists": { "rooms": list }, "extensions": extensions })
}

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let name = format!("sliding-initial, {} rooms", run.options.rooms);
    let targets = run.targets.clone();
    let mut accounts = Vec::new();
    for target in targets.iter() {
        let mut user = User::register(target).await?;
        let mut last = String::new();
        for _ in 0..run.options.rooms {
            last = user.create_room().await?;
            user.send(&last, MESSAGE).await?;
        }
        accounts.push((user, last));
    }
    for round in 0..run.options.rounds {
        for (index, (user, room_id)) in accounts.iter_mut().enumerate() {
            run.rest().await;
            let body = body(round);
            let before = run.clock.monotonic();
            let mut answer = user.call("POST", PATH, Some(&body)).await?;
            let time = millis(run.clock.monotonic() - before);
            run.add(&name, ("time", "ms", Better::Less), index, time);
            let mut spent = std::time::Duration::ZERO;
            for _ in 0..MESSAGES {
                user.send(room_id, MESSAGE).await?;
                let path = format!("{PATH}?pos={}", answer["pos"].as_str().unwrap_or_default());
                let before = run.clock.monotonic();
                answer = user.call("POST", &path, Some(&body)).await?;
                spent += run.clock.monotonic() - before;
            }
            run.add(&name, ("time of one message", "ms", Better::Less), index, millis(spent / MESSAGES));
        }
    }
    Ok(())
}
