//! A room whose members have pushers: a message is done when the push gateway has it for everybody.

use plexus_testkit::PushGateway;
use serde_json::json;

use crate::run::Run;
use crate::target::{Target, TargetError};
use crate::user::User;

use super::{repeat, send::MESSAGE, users};

/// The members with a pusher.
const PUSHERS: usize = 50;

struct Room {
    room_id: String,
    sender: [User; 1],
    gateway: PushGateway,
}

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut rooms = Vec::new();
    for target in targets.iter() {
        rooms.push(prepare(target).await?);
    }
    let name = format!("room with {PUSHERS} pushers");
    for _ in 0..run.options.rounds {
        for (index, (target, room)) in targets.iter().zip(&mut rooms).enumerate() {
            let Room { room_id, sender, gateway } = room;
            let act = async |user: &mut User, _| {
                user.send(room_id, MESSAGE).await?;
                for _ in 0..PUSHERS {
                    gateway.next().await;
                }
                Ok(())
            };
            let round = repeat(run, target, sender, act).await?;
            run.rate(&name, "messages with their notifications", index, &round);
        }
    }
    Ok(())
}

async fn prepare(target: &Target) -> Result<Room, TargetError> {
    let gateway = PushGateway::start().await;
    let mut sender = User::register(target).await?;
    let room_id = sender.create_room().await?;
    for (number, user) in users(target, PUSHERS).await?.iter_mut().enumerate() {
        user.join(&room_id).await?;
        let pusher = json!({
            "app_id": "org.example.bench", "pushkey": format!("{}-{number}", target.unique()), "kind": "http",
            "app_display_name": "Bench", "device_display_name": "Phone", "lang": "en",
            "data": { "url": gateway.url() },
        });
        user.call("POST", "/_matrix/client/v3/pushers/set", Some(&pusher)).await?;
    }
    Ok(Room { room_id, sender: [sender], gateway })
}
