//! Uploads and downloads.

use std::cell::Cell;

use crate::run::Run;
use crate::target::TargetError;
use crate::user::User;

use super::{repeat, users};

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let name = format!("media, {} bytes", run.options.file_size);
    let file = vec![0x5a; run.options.file_size];
    let targets = run.targets.clone();
    let mut prepared = Vec::new();
    for target in targets.iter() {
        let mut users = users(target, run.options.users).await?;
        let address = users[0].upload(&file).await?;
        prepared.push((users, format!("/_matrix/client/v1/media/download/{address}")));
    }
    let number = Cell::new(0_u64);
    for _ in 0..run.options.rounds {
        for (index, (users, path)) in prepared.iter_mut().enumerate() {
            let upload = async |user: &mut User, _| {
                // All files differ: a server may store equal ones once.
                number.set(number.get() + 1);
                let mut file = file.clone();
                file.extend_from_slice(&number.get().to_be_bytes());
                user.upload(&file).await.map(drop)
            };
            let round = repeat(run, &targets[index], users, upload).await?;
            run.rate(&name, "uploads", index, &round);
            let download = async |user: &mut User, _| user.get(path).await;
            let round = repeat(run, &targets[index], users, download).await?;
            run.rate(&name, "downloads", index, &round);
        }
    }
    Ok(())
}
