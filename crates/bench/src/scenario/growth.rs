//! The cost of a message as the database grows.

use futures_util::future::try_join_all;

use crate::report::Better;
use crate::run::Run;
use crate::target::{Target, TargetError};
use crate::user::User;

use super::{repeat, send::MESSAGE, users};

/// How many users fill the database at the same time, so that a server with group commit does not wait for this
/// program.
const FILLERS: usize = 50;

struct Place {
    senders: Vec<User>,
    rooms: Vec<String>,
    /// The number of messages sent so far.
    sent: usize,
}

/// The costs of one round, in seconds per message.
struct Cost {
    /// The number of events in the database.
    events: usize,
    cost: f64,
    time: f64,
}

pub(super) async fn measure(run: &mut Run) -> Result<(), TargetError> {
    let targets = run.targets.clone();
    let mut places = Vec::new();
    for target in targets.iter() {
        places.push(prepare(target, run.options.users).await?);
    }
    let mut costs: Vec<Vec<Cost>> = targets.iter().map(|_| Vec::new()).collect();
    for events in run.options.events.clone() {
        let name = format!("growth, {events} events");
        for (place, target) in places.iter_mut().zip(targets.iter()) {
            fill(target, place, events).await?;
        }
        for _ in 0..run.options.rounds {
            for (index, place) in places.iter_mut().enumerate() {
                let rooms = &place.rooms;
                let act = async |user: &mut User, number: usize| user.send(&rooms[number], MESSAGE).await;
                let round = repeat(run, &targets[index], &mut place.senders, act).await?;
                place.sent += round.times.len();
                run.rate(&name, "messages", index, &round);
                let time = round.seconds / round.count();
                // Processor time is more precise where it is known: it excludes the speed of the disk (and a database's
                // own process).
                let cost = round.processor.map_or(time, |seconds| seconds / round.count());
                costs[index].push(Cost { events, cost, time });
            }
        }
        run.memory(&name);
    }
    for (index, costs) in costs.iter().enumerate() {
        compare(run, index, costs);
    }
    Ok(())
}

/// Records the ratio of the costs of a message with the most and the fewest events.
fn compare(run: &mut Run, index: usize, costs: &[Cost]) {
    let (Some(first), Some(last)) = (costs.first(), costs.last()) else { return };
    let of = |size: usize| costs.iter().filter(move |it| it.events == size);
    let name = format!("growth, {} events against {}", last.events, first.events);
    for (few, many) in of(first.events).zip(of(last.events)) {
        run.add(&name, ("cost of a message", "times", Better::Less), index, many.cost / few.cost);
        run.add(&name, ("time of a message", "times", Better::Less), index, many.time / few.time);
    }
}

async fn prepare(target: &Target, count: usize) -> Result<Place, TargetError> {
    let mut senders = users(target, count).await?;
    let mut rooms = Vec::new();
    for sender in &mut senders {
        rooms.push(sender.create_room().await?);
    }
    Ok(Place { senders, rooms, sent: 0 })
}

/// Sends messages until there are `events`.
async fn fill(target: &Target, place: &mut Place, events: usize) -> Result<(), TargetError> {
    let each = events.saturating_sub(place.sent) / FILLERS;
    let (senders, rooms) = (&place.senders, &place.rooms);
    let fillers = (0..FILLERS).map(async |number| {
        let mut user = senders[number % senders.len()].again(target).await?;
        let connection = place.sent + number;
        for count in 0..each {
            // Connections of one user must not reuse transaction ids.
            user.send_as(&rooms[number % rooms.len()], MESSAGE, &format!("{connection}-{count}")).await?;
        }
        Ok::<_, TargetError>(())
    });
    try_join_all(fillers).await?;
    place.sent += each * FILLERS;
    Ok(())
}
