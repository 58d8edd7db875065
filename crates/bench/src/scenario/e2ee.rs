//! The server's part of end-to-end encryption: uploading and claiming keys, and to-device messages.
//!
//! Servers store keys without verifying them, so these keys are not real.

use std::cell::Cell;

use serde_json::{Value, json};

use crate::run::Run;
use crate::target::{CLIENT, TargetError};
use crate::user::User;

use super::{repeat, users};

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut users = users(target, run.options.users).await?;
        for user in &mut users {
            user.post(&upload_path(), &device_keys(user)).await?;
        }
        prepared.push(users);
    }
    let numbers = Cell::new(0_u64);
    for _ in 0..run.options.rounds {
        for (index, users) in prepared.iter_mut().enumerate() {
            let target = &targets[index];
            let names: Vec<_> = users.iter().map(|user| (user.user_id.clone(), user.device_id.clone())).collect();
            let next = |number: usize| names[(number + 1) % names.len()].clone();

            // Only as many keys are uploaded as are claimed: devices have at most a hundred or so.
            let keys = async |user: &mut User, number: usize| {
                numbers.set(numbers.get() + 1);
                user.post(&upload_path(), &one_time_key(user, numbers.get())).await?;
                let (user_id, device_id) = next(number);
                let body = json!({ "one_time_keys": { user_id: { device_id: "signed_curve25519" } } });
                user.post(&format!("{CLIENT}/keys/claim"), &body.to_string()).await
            };
            let round = repeat(run, target, users, keys).await?;
            run.rate("e2ee", "keys uploaded and claimed", index, &round);

            let send = async |user: &mut User, number: usize| {
                let (user_id, device_id) = next(number);
                let path = format!("{CLIENT}/sendToDevice/m.room.encrypted/{}", user.next_transaction());
                let body = json!({ "messages": { user_id: { device_id: { "ciphertext": "A".repeat(500) } } } });
                user.put(&path, &body.to_string()).await
            };
            let round = repeat(run, target, users, send).await?;
            run.rate("e2ee", "messages to devices", index, &round);
        }
    }
    Ok(())
}

fn upload_path() -> String {
    format!("{CLIENT}/keys/upload")
}

fn device_keys(user: &User) -> String {
    let id = |algorithm: &str| format!("{algorithm}:{}", user.device_id);
    let device = json!({
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { id("curve25519"): "A".repeat(43), id("ed25519"): "B".repeat(43) },
        "signatures": signatures(user),
    });
    json!({ "device_keys": device }).to_string()
}

fn one_time_key(user: &User, number: u64) -> String {
    let key = json!({ "key": format!("{number:0>43}"), "signatures": signatures(user) });
    json!({ "one_time_keys": { format!("signed_curve25519:{number:08}"): key } }).to_string()
}

fn signatures(user: &User) -> Value {
    json!({ &user.user_id: { format!("ed25519:{}", user.device_id): "S".repeat(86) } })
}
