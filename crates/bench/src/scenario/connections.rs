//! Thousands of open long polls, a few of which are woken all the time.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::future::try_join_all;
use plexus_base::Clock;

use crate::descriptors;
use crate::report::Better;
use crate::run::Run;
use crate::stats::percentile;
use crate::target::{Target, TargetError};
use crate::user::User;

use super::{crowd, millis};

/// Members per room, and open long polls per member: each is woken by a message.
const MEMBERS: usize = 10;
const POLLS: usize = 10;
/// The timeout of a waiting sync, in milliseconds.
const WAIT_MS: u64 = 30_000;
/// The pause between two messages.
const PAUSE: Duration = Duration::from_millis(250);
/// How many connections are opened at the same time.
const OPENING: usize = 50;
const WORD: &str = "wake-up";

struct Room {
    id: String,
    owner: User,
    /// Connections with their sync tokens.
    polls: Vec<(User, String)>,
    /// When the last message was sent.
    sent: Cell<Duration>,
}

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let wanted = run.options.connections;
    descriptors::raise(wanted + 1000);
    let name = format!("connections, {wanted} open long-polls");
    let targets = run.targets.clone();
    // One target after the other: together they would need twice the connections.
    for (index, target) in targets.iter().enumerate() {
        let idle = target.process.and_then(crate::process::Process::resident);
        let mut rooms = Vec::new();
        for _ in 0..wanted.div_ceil(MEMBERS * POLLS) {
            rooms.push(prepare(target).await?);
        }
        run.forget_peaks();
        for _ in 0..run.options.rounds {
            let times = wake_ups(&run.clock, run.options.duration(), &mut rooms).await?;
            for (what, percent) in [("wake-up, median", 50), ("wake-up, 99th percentile", 99)] {
                if let Some(time) = percentile(&times, percent) {
                    run.add(&name, (what, "ms", Better::Less), index, time);
                }
            }
        }
        if let (Some(idle), Some(process)) = (idle, target.process) {
            run.add(&name, ("resident before", "MB", Better::Less), index, idle);
            let peak = process.peak().unwrap_or_default();
            run.add(&name, ("resident at most", "MB", Better::Less), index, peak);
        }
    }
    Ok(())
}

async fn prepare(target: &Target) -> Result<Room, TargetError> {
    let mut owner = User::register(target).await?;
    let id = owner.create_open_room().await?;
    let mut polls = Vec::new();
    for mut user in crowd(target, MEMBERS, &id).await? {
        let (since, _) = user.sync(None, 0).await?;
        for _ in 1..POLLS {
            polls.push((user.again(target).await?, since.clone()));
        }
        polls.push((user, since));
    }
    Ok(Room { id, owner, polls, sent: Cell::default() })
}

/// Keeps all syncs waiting and sends a message to one room after the other until the round is over. Returns for each
/// woken sync how long it waited for the message, in milliseconds.
async fn wake_ups(clock: &Clock, round: Duration, rooms: &mut [Room]) -> Result<Vec<f64>, TargetError> {
    let times = RefCell::new(Vec::new());
    let (mut owners, mut polls) = (Vec::new(), Vec::new());
    for room in rooms {
        let (id, sent) = (&room.id, &room.sent);
        owners.push((&mut room.owner, id, sent));
        polls.extend(room.polls.iter_mut().map(|poll| (poll, sent)));
    }
    let opening = tokio::sync::Semaphore::new(OPENING);
    let open = Cell::new(0_usize);
    let all = polls.len();
    let waiting = try_join_all(polls.into_iter().map(async |((user, since), sent)| -> Result<(), TargetError> {
        let permit = opening.acquire().await;
        // Consumes earlier events; the connection is open from here on.
        (*since, _) = user.sync(Some(since), 0).await?;
        drop(permit);
        open.set(open.get() + 1);
        loop {
            let found;
            (*since, found) = user.sync_for(since, WAIT_MS, WORD).await?;
            if found {
                times.borrow_mut().push(millis(clock.monotonic() - sent.get()));
            }
        }
    }));
    let sending = async {
        while open.get() < all {
            clock.sleep(PAUSE).await;
        }
        let started = clock.monotonic();
        for turn in 0.. {
            if clock.monotonic() - started >= round {
                break;
            }
            clock.sleep(PAUSE).await;
            let count = owners.len();
            let (owner, id, sent) = &mut owners[turn % count];
            sent.set(clock.monotonic());
            owner.send(id, WORD).await?;
        }
        // The last messages still have to arrive.
        clock.sleep(PAUSE * 4).await;
        Ok::<_, TargetError>(())
    };
    tokio::select! {
        sent = sending => sent?,
        ended = waiting => { ended?; }
    }
    Ok(times.take())
}
