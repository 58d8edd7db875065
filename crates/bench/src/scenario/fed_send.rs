//! Messages from other servers. Events are created and signed beforehand; the measured time ends when all of them can
//! be read by a local user, not when they are acknowledged.

use std::time::Duration;

use futures_util::future::try_join_all;
use plexus_base::Clock;
use plexus_protocol::id::EventId;

use crate::origin::{Member, Origin, Transaction};
use crate::report::Better;
use crate::round::Round;
use crate::run::Run;
use crate::target::{CLIENT, Target, TargetError};
use crate::user::{User, encode};

use super::spent;

const ROOMS: usize = 10;
/// The most PDUs of a transaction ([Transactions](https://spec.matrix.org/v1.19/server-server-api/#transactions)).
const MAX_PDUS: usize = 50;
/// The interval of checks for an event.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// A server that has not added the last event after this time will not.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A room of the target, and the newest events in it.
struct Room {
    id: String,
    tips: Vec<EventId>,
}

/// Servers, each with its users in some rooms: the room's number and the user.
struct World {
    reader: User,
    rooms: Vec<Room>,
    origins: Vec<(Origin, Vec<(usize, Member)>)>,
}

/// Transactions that are sent at the same time: one of each origin.
type Step = Vec<Transaction>;

pub(crate) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    for origins in [1, 100] {
        let name = format!("fed-send, {origins} origins");
        let mut worlds = Vec::new();
        for target in targets.iter() {
            worlds.push(prepare(target, origins).await?);
        }
        for _ in 0..run.options.rounds {
            for (index, world) in worlds.iter_mut().enumerate() {
                let steps = world.steps(run.options.pdus, run.clock.now_ms())?;
                run.rest().await;
                let round = world.send(&run.clock, &targets[index], &steps, run.options.pdus).await?;
                run.add(&name, ("PDUs", "per second", Better::More), index, round.count() / round.seconds);
                if let Some(processor) = round.processor.filter(|seconds| *seconds > 0.0) {
                    run.add(
                        &name,
                        ("PDUs a processor second", "per second", Better::More),
                        index,
                        round.count() / processor,
                    );
                }
            }
        }
        run.memory(&name);
    }
    Ok(())
}

async fn prepare(target: &Target, count: usize) -> Result<World, TargetError> {
    let mut reader = User::register(target).await?;
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        rooms.push(Room { id: reader.create_room().await?, tips: Vec::new() });
    }
    let name = reader.user_id.split_once(':').map(|(_, name)| name.to_owned()).unwrap_or_default();
    let mut origins = Vec::new();
    for number in 0..count {
        let mut origin = Origin::start(target, &name).await?;
        let mut members = Vec::new();
        for (index, room) in rooms.iter_mut().enumerate() {
            // A single origin is in every room; each of many is in one.
            if count == 1 || number % ROOMS == index {
                let member = origin.join(&room.id).await?;
                room.tips = vec![member.joined.clone()];
                members.push((index, member));
            }
        }
        origins.push((origin, members));
    }
    Ok(World { reader, rooms, origins })
}

impl World {
    /// Creates `count` events. In each step an origin's events follow one another, the first one all earlier events of
    /// its room.
    fn steps(&mut self, count: usize, now_ms: u64) -> Result<Vec<Step>, TargetError> {
        let each = count / self.origins.len();
        let mut steps = Vec::new();
        for step in 0..each.div_ceil(MAX_PDUS) {
            let size = MAX_PDUS.min(each - step * MAX_PDUS);
            let mut tips: Vec<Vec<EventId>> = vec![Vec::new(); self.rooms.len()];
            let mut transactions = Vec::new();
            for (origin, members) in &mut self.origins {
                let mut pdus = Vec::new();
                let mut own: Vec<Option<EventId>> = vec![None; members.len()];
                for number in 0..size {
                    let place = number % members.len();
                    let (room, member) = &mut members[place];
                    let after = own[place].take().map_or_else(|| self.rooms[*room].tips.clone(), |last| vec![last]);
                    let pdu = origin.message(member, after, now_ms)?;
                    own[place] = Some(pdu.event_id().clone());
                    pdus.push(pdu);
                }
                for (last, (room, _)) in own.into_iter().zip(members.iter()) {
                    tips[*room].extend(last);
                }
                transactions.push(origin.transaction(&pdus, now_ms)?);
            }
            for (room, tips) in self.rooms.iter_mut().zip(tips).filter(|(_, tips)| !tips.is_empty()) {
                room.tips = tips;
            }
            steps.push(transactions);
        }
        Ok(steps)
    }

    /// Sends all steps and waits until the last events can be read.
    async fn send(
        &mut self,
        clock: &Clock,
        target: &Target,
        steps: &[Step],
        count: usize,
    ) -> Result<Round, TargetError> {
        let (started, used) = (clock.monotonic(), target.processor_seconds());
        for step in steps {
            let sends = self.origins.iter_mut().zip(step);
            try_join_all(sends.map(|((origin, _), transaction)| origin.send(transaction))).await?;
        }
        for room in &self.rooms {
            for tip in &room.tips {
                let path = format!("{CLIENT}/rooms/{}/event/{}", encode(&room.id), encode(tip.as_str()));
                arrival(clock, &mut self.reader, &path).await?;
            }
        }
        let seconds = (clock.monotonic() - started).as_secs_f64();
        Ok(Round { times: vec![0.0; count], seconds, processor: spent(used, target) })
    }
}

/// Waits for a successful response of `path`.
async fn arrival(clock: &Clock, reader: &mut User, path: &str) -> Result<(), TargetError> {
    let started = clock.monotonic();
    loop {
        match reader.get(path).await {
            Err(TargetError::Refused { status: 404, .. }) if clock.monotonic() - started < TIMEOUT => {
                clock.sleep(CHECK_INTERVAL).await;
            }
            other => return other,
        }
    }
}
