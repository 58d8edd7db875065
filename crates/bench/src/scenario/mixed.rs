//! The mixed load of a real server: all users always have a waiting sync; some type, read, write, and look up profiles.
//!
//! Actions are due at fixed times, whatever the server does; delays are measured from the due time.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::json;

use crate::report::Better;
use crate::round::Round;
use crate::run::Run;
use crate::target::{CLIENT, Target, TargetError};
use crate::user::{User, encode};

use super::{millis, send::MESSAGE, spent, users};

/// Members per room.
const MEMBERS: usize = 10;
/// The timeout of a waiting sync, in milliseconds.
const WAIT_MS: u64 = 30_000;
/// The interval of memory samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

struct Room {
    id: String,
    /// The last message, and its receipt.
    newest: RefCell<String>,
}

/// The users of a target; each room has [`MEMBERS`] of them, in order.
struct Town {
    users: Vec<User>,
    rooms: Vec<Room>,
    /// The sync token of each user.
    tokens: Vec<String>,
}

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let name = format!("mixed, {} users, {} acts a second", run.options.crowd, run.options.acts);
    let targets = run.targets.clone();
    let mut towns = Vec::new();
    for target in targets.iter() {
        towns.push(prepare(target, run.options.crowd).await?);
    }
    run.forget_peaks();
    for _ in 0..run.options.rounds {
        for (index, town) in towns.iter_mut().enumerate() {
            let round = live(run, &name, index, town).await?;
            run.add(&name, ("acts, median", "ms", Better::Less), index, round.percentile(50));
            run.add(&name, ("acts, 99th percentile", "ms", Better::Less), index, round.percentile(99));
            if let Some(processor) = round.processor {
                let share = processor * 1000.0 / round.seconds;
                run.add(&name, ("processor time a second", "ms", Better::Less), index, share);
            }
        }
    }
    run.memory(&name);
    Ok(())
}

async fn prepare(target: &Target, count: usize) -> Result<Town, TargetError> {
    let mut town = Town { users: users(target, count).await?, rooms: Vec::new(), tokens: Vec::new() };
    for members in town.users.chunks_mut(MEMBERS) {
        let Some((owner, others)) = members.split_first_mut() else { continue };
        let id = owner.create_room().await?;
        for other in others {
            other.join(&id).await?;
        }
        let newest = RefCell::new(owner.send_for_id(&id, MESSAGE).await?);
        town.rooms.push(Room { id, newest });
    }
    for user in &mut town.users {
        town.tokens.push(user.sync(None, 0).await?.0);
    }
    Ok(town)
}

/// Runs one round of waiting and acting.
async fn live(run: &mut Run, name: &str, index: usize, town: &mut Town) -> Result<Round, TargetError> {
    run.rest().await;
    let targets = run.targets.clone();
    let target = &targets[index];
    let (clock, duration, pace) = (run.clock.clone(), run.options.duration(), run.options.acts);
    let (started, used) = (clock.monotonic(), target.processor_seconds());
    let mut waiters = Vec::new();
    for user in &town.users {
        waiters.push(user.again(target).await?);
    }
    let everybody = waiters.iter_mut().zip(&mut town.tokens);
    let waiting = try_join_all(everybody.map(async |(user, since)| -> Result<(), TargetError> {
        loop {
            (*since, _) = user.sync(Some(since), WAIT_MS).await?;
        }
    }));
    let count = town.users.len();
    let rooms = &town.rooms;
    let acting = town.users.iter_mut().enumerate().map(|(number, user)| {
        let clock = &clock;
        async move {
            let mut times = Vec::new();
            for turn in 0.. {
                #[expect(clippy::cast_precision_loss, reason = "acts are far below 2^52")]
                let due = started + Duration::from_secs_f64((number + turn * count) as f64 / pace);
                if due - started >= duration {
                    break;
                }
                clock.sleep(due.saturating_sub(clock.monotonic())).await;
                act(user, &rooms[number / MEMBERS], number + turn).await?;
                times.push(millis(clock.monotonic() - due));
            }
            Ok::<_, TargetError>(times)
        }
    });
    let report = &mut run.report;
    let looking = async {
        loop {
            let at = clock.monotonic().as_secs_f64();
            if let Some(resident) = target.process.and_then(crate::process::Process::resident) {
                report.point(name, "resident", "MB", index, (at, resident));
            }
            if let Some(bytes) = target.cache_bytes().await {
                report.point(name, "caches' own count", "MB", index, (at, bytes / 1e6));
            }
            clock.sleep(SAMPLE_INTERVAL).await;
        }
    };
    let times = tokio::select! {
        times = try_join_all(acting) => times?.concat(),
        ended = waiting => { ended?; Vec::new() }
        () = looking => Vec::new(),
    };
    let seconds = (clock.monotonic() - started).as_secs_f64();
    Ok(Round { times, seconds, processor: spent(used, target) })
}

/// Of ten actions, three are typing, three profile lookups, two receipts and two messages.
async fn act(user: &mut User, room: &Room, number: usize) -> Result<(), TargetError> {
    let (id, user_id) = (encode(&room.id), encode(&user.user_id));
    match number % 10 {
        0..3 => {
            let typing = json!({ "typing": true, "timeout": 5000 }).to_string();
            user.put(&format!("{CLIENT}/rooms/{id}/typing/{user_id}"), &typing).await
        }
        3..6 => user.call("GET", &format!("{CLIENT}/profile/{user_id}"), None).await.map(drop),
        6..8 => {
            let newest = encode(&room.newest.borrow());
            user.post(&format!("{CLIENT}/rooms/{id}/receipt/m.read/{newest}"), "{}").await
        }
        _ => {
            let sent = user.send_for_id(&room.id, MESSAGE).await?;
            room.newest.replace(sent);
            Ok(())
        }
    }
}
