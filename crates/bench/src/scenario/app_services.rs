//! Messages in rooms of one application service. How many others the server has, and how many users they have, is up to
//! who starts it: `bench/app_services.py` compares one with fifty.

use serde_json::json;

use crate::run::Run;
use crate::target::{CLIENT, TargetError, call};
use crate::user::{User, encode};

use super::{repeat, send::MESSAGE, users};

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let what = "application service";
    let token = run.options.app_service_token.clone();
    let token = token.ok_or(TargetError::Wrong { what, why: "--app-service-token is missing".to_owned() })?;
    let authorization = format!("Bearer {token}");
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut senders = users(target, run.options.users).await?;
        let mut service = target.connect().await?;
        let mut rooms = Vec::new();
        for sender in &mut senders {
            let room_id = sender.create_room().await?;
            let join = format!("{CLIENT}/join/{}", encode(&room_id));
            call(&mut service, "POST", &join, Some(&authorization), Some(&json!({}))).await?;
            rooms.push(room_id);
        }
        prepared.push((senders, rooms));
    }
    for _ in 0..run.options.rounds {
        for (index, (senders, rooms)) in prepared.iter_mut().enumerate() {
            let act = async |user: &mut User, number: usize| user.send(&rooms[number], MESSAGE).await;
            let round = repeat(run, &targets[index], senders, act).await?;
            run.rate("rooms of an application service", "messages", index, &round);
        }
    }
    run.memory("application services");
    Ok(())
}
