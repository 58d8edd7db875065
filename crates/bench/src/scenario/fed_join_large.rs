//! Joining a large room of another server, which this program simulates.

use std::time::Duration;

use plexus_testkit::{BigRoom, Peer};
use serde_json::Value;

use crate::process::Process;
use crate::report::Better;
use crate::run::Run;
use crate::target::{CLIENT, TargetError};
use crate::user::{User, encode};

/// The number of servers of the members.
const SERVERS: usize = 10;
/// The interval of checks for the members.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A server that does not know all members after this many seconds never will.
const TIMEOUT_S: u64 = 1800;

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let (members, state_events) = (run.options.room_members, run.options.room_state);
    let name = format!("fed-join-large, {members} members, {state_events} state events");
    let mut others = Vec::new();
    for _ in 1..SERVERS {
        others.push(Peer::start().await);
    }
    let targets = run.targets.clone();
    for _ in 0..run.options.rounds {
        for (index, target) in targets.iter().enumerate() {
            // A server knows the state of rooms it is in: each join needs a new room.
            let host = BigRoom::new(members, state_events).host(&others.iter().collect::<Vec<_>>()).await;
            let mut user = User::register(target).await?;
            run.rest().await;
            target.process.iter().for_each(|process| process.forget_peak());
            let before = target.process.and_then(Process::resident);
            let (started, used) = (run.clock.monotonic(), target.processor_seconds());
            let (room, via) = (encode(host.room.id().as_str()), encode(host.peer.name().as_str()));
            user.post(&format!("{CLIENT}/join/{room}?server_name={via}"), "{}").await?;
            let joined = run.clock.monotonic() - started;
            run.add(&name, ("until the join is answered", "s", Better::Less), index, joined.as_secs_f64());
            let path = format!("{CLIENT}/rooms/{room}/joined_members");
            loop {
                let answer = user.call("GET", &path, None).await?;
                let known = answer.get("joined").and_then(Value::as_object).map_or(0, serde_json::Map::len);
                if known > members {
                    break;
                }
                if (run.clock.monotonic() - started).as_secs() > TIMEOUT_S {
                    return Err(TargetError::Late {
                        what: format!("joining, with {known} members,"),
                        seconds: TIMEOUT_S,
                    });
                }
                run.clock.sleep(CHECK_INTERVAL).await;
            }
            let complete = run.clock.monotonic() - started;
            run.add(&name, ("until all members are known", "s", Better::Less), index, complete.as_secs_f64());
            if let (Some(used), Some(now)) = (used, target.processor_seconds()) {
                run.add(&name, ("processor time", "s", Better::Less), index, now - used);
            }
            if let (Some(before), Some(peak)) = (before, target.process.and_then(Process::peak)) {
                run.add(&name, ("resident before", "MB", Better::Less), index, before);
                run.add(&name, ("resident at most", "MB", Better::Less), index, peak);
            }
        }
    }
    Ok(())
}
