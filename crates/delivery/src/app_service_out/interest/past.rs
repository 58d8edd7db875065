//! The services of a room's members in the past, from the changes of its members since.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use plexus_base::Registrations;
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, TimelineEvent, timeline};
use plexus_store::repo::current_state::{self, MemberChange};
use plexus_store::{DbError, EventNid, Position, Tx};

use super::{Interest, services_of};

/// The most stays of a room that are remembered.
const MAX_STAYS: usize = 1_000;
/// How many member events are read at once.
const EVENTS_PER_READ: usize = 500;

/// The services with users among a room's members, at each position of a part of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PastServices {
    /// The part of the log: from here,
    since: Position,
    /// up to here.
    upto: Position,
    /// They had users there all the time.
    always: BTreeSet<usize>,
    /// The others, with the time during which a user of theirs was there.
    stays: Vec<(usize, Range<Position>)>,
}

/// The change of a membership of a service's user.
struct UserChange {
    services: Vec<usize>,
    change: MemberChange,
}

impl PastServices {
    /// Returns the services at a position; `None` if it is in another part of the log.
    pub(super) fn at(&self, position: Position) -> Option<BTreeSet<usize>> {
        if position < self.since || position > self.upto {
            return None;
        }
        let there = self.stays.iter().filter(|(_, stay)| stay.contains(&position)).map(|(service, _)| *service);
        Some(self.always.iter().copied().chain(there).collect())
    }

    /// Whether it is small enough to be remembered.
    pub(super) fn is_small(&self) -> bool {
        self.stays.len() <= MAX_STAYS
    }
}

impl Interest {
    /// Reads the services that a room's members had since a position.
    pub(super) async fn read_past(
        &self,
        registrations: &Arc<Registrations>,
        room: &Room,
        since: Position,
    ) -> Result<PastServices, DbError> {
        let upto = self.db.committed();
        // Before the changes are read: they are all that happened since, also what this view does not show yet.
        let view = room.view();
        let changes = self.changes_after(registrations, room, since).await?;
        let changed: HashSet<&str> = changes.iter().map(|it| it.change.user_id.as_str()).collect();
        let others = view.local_joined.iter().filter(|user| !changed.contains(user.as_str()));
        let always = services_of(registrations, others, None).await;
        let stays = changes.iter().filter(|it| it.services.iter().any(|service| !always.contains(service)));
        let stays: Vec<&UserChange> = stays.collect();
        let joins = joins_among(room, &stays).await?;
        Ok(PastServices { since, upto, stays: stays_of(since, &stays, &joins), always })
    }

    /// Reads the changes of memberships of services' users after a position, oldest first.
    async fn changes_after(
        &self,
        registrations: &Arc<Registrations>,
        room: &Room,
        after: Position,
    ) -> Result<Vec<UserChange>, DbError> {
        let (registrations, server_name, nid) = (Arc::clone(registrations), self.server_name.clone(), room.nid);
        let read = move |tx: &mut Tx<'_>| {
            let mut changes = Vec::new();
            current_state::for_each_member_change(tx, nid, after, |change| {
                let user = UserId::try_from(change.user_id.as_str());
                if user.is_ok_and(|user| user.server_name() == server_name.as_str()) {
                    let services = registrations.of_user(&change.user_id);
                    if !services.is_empty() {
                        changes.push(UserChange { services, change });
                    }
                }
            })?;
            Ok::<_, DbError>(changes)
        };
        self.db.read(read).await
    }
}

/// Returns those of the events of changes that are joins.
async fn joins_among(room: &Room, changes: &[&UserChange]) -> Result<HashSet<EventNid>, DbError> {
    let events = changes.iter().flat_map(|it| [it.change.event_nid, it.change.prev_event_nid]).flatten();
    let events: Vec<EventNid> = events.collect::<BTreeSet<_>>().into_iter().collect();
    let mut joins = HashSet::new();
    for nids in events.chunks(EVENTS_PER_READ) {
        let found = timeline::by_nids(room, nids.to_vec()).await?;
        let is_join = |event: &&Arc<TimelineEvent>| Membership::of(&event.pdu) == Some(Membership::Join);
        joins.extend(found.iter().filter(is_join).map(|event| event.nid));
    }
    Ok(joins)
}

/// Returns when users of services were in the room, by the changes after `since`, of which `joins` are joins.
fn stays_of(since: Position, changes: &[&UserChange], joins: &HashSet<EventNid>) -> Vec<(usize, Range<Position>)> {
    let is_join = |event: Option<EventNid>| event.is_some_and(|event| joins.contains(&event));
    let mut stays = Vec::new();
    // Since when each user has been there, if at all.
    let mut there: HashMap<&str, (Option<Position>, &[usize])> = HashMap::new();
    let end = |stays: &mut Vec<_>, services: &[usize], from: Option<Position>, until| {
        stays.extend(from.into_iter().flat_map(|from| services.iter().map(move |service| (*service, from..until))));
    };
    for UserChange { services, change } in changes {
        let before = || (is_join(change.prev_event_nid).then_some(since), services.as_slice());
        let (from, _) = there.entry(&change.user_id).or_insert_with(before);
        if !is_join(change.event_nid) {
            end(&mut stays, services, from.take(), change.position);
        } else if from.is_none() {
            *from = Some(change.position);
        }
    }
    for (from, services) in there.into_values() {
        end(&mut stays, services, from, Position::MAX);
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Position = 10;

    /// A change at a position, from one member event to another. Those above 100 are joins.
    fn change(user: &str, position: Position, from: EventNid, to: EventNid) -> UserChange {
        let (event_nid, prev_event_nid) = (Some(to).filter(|nid| *nid > 0), Some(from).filter(|nid| *nid > 0));
        let change = MemberChange { position, user_id: user.to_owned(), event_nid, prev_event_nid };
        UserChange { services: vec![1], change }
    }

    /// Returns the positions up to 40 at which service 1 is there.
    fn there(changes: &[UserChange], always: &[usize]) -> Vec<Position> {
        let joins = (101..200).collect();
        let changes: Vec<&UserChange> = changes.iter().collect();
        let stays = stays_of(SINCE, &changes, &joins);
        let past = PastServices { since: SINCE, upto: 40, always: always.iter().copied().collect(), stays };
        assert_eq!((past.at(SINCE - 1), past.at(41)), (None, None));
        (SINCE..=40).filter(|position| past.at(*position).unwrap().contains(&1)).collect()
    }

    #[test]
    fn a_service_is_there_while_one_of_its_users_is() {
        let leaves = [change("@a:x", 13, 101, 2)];
        assert_eq!(there(&leaves, &[]), [10, 11, 12]);
        assert_eq!(there(&leaves, &[1]), Vec::from_iter(10..=40));
        let joins = [change("@a:x", 38, 1, 102)];
        assert_eq!(there(&joins, &[]), [38, 39, 40]);
        let both = [change("@a:x", 12, 0, 102), change("@b:x", 14, 103, 0), change("@a:x", 16, 102, 3)];
        assert_eq!(there(&both, &[]), [10, 11, 12, 13, 14, 15]);
        // Another name, not another membership.
        let renamed = [change("@a:x", 12, 101, 102), change("@a:x", 14, 102, 103), change("@a:x", 16, 103, 4)];
        assert_eq!(there(&renamed, &[]), [10, 11, 12, 13, 14, 15]);
        let invited = [change("@a:x", 12, 0, 1), change("@a:x", 14, 1, 2)];
        assert_eq!(there(&invited, &[]), Vec::<Position>::new());
    }
}
