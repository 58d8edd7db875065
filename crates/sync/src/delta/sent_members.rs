//! The member events that each device has been sent, so that lazy loading does not send them again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_store::{EventNid, Position, RoomNid};
use quick_cache::sync::Cache;

/// The most devices in memory.
const MAX_DEVICES: usize = 10_000;
/// The most members that are kept for a device; above it the earlier ones are forgotten, and sent again.
const MAX_MEMBERS: usize = 10_000;

/// The member event that was sent last, by room and user.
type Members = HashMap<(RoomNid, Arc<str>), SentMember>;

/// A member event that was sent.
#[derive(Debug, Clone, Copy)]
struct SentMember {
    event: EventNid,
    /// The position of the response. A device that asks from an earlier one has not received it.
    upto: Position,
}

/// The member events that each device has been sent. Owned by this process; another one sends them again.
pub(super) struct SentMembers(Cache<(UserId, String), Arc<Mutex<Members>>>);

/// The member events that a response sends to a device which does not have them yet. They count as sent once the
/// response is written.
#[derive(Debug, Default)]
pub struct NewMembers {
    sent_before: Arc<Mutex<Members>>,
    /// The position from which the device asks.
    since: Position,
    new: HashMap<(RoomNid, Arc<str>), EventNid>,
}

impl Default for SentMembers {
    fn default() -> Self {
        Self(Cache::new(MAX_DEVICES))
    }
}

impl SentMembers {
    /// Begins a response to a device. With `since` `None` the device has no member events.
    pub(super) fn begin(&self, user: &UserId, device: &str, since: Option<Position>) -> NewMembers {
        let key = (user.clone(), device.to_owned());
        let sent_before = since.and_then(|_| self.0.get(&key)).unwrap_or_default();
        NewMembers { sent_before, since: since.unwrap_or(0), new: HashMap::new() }
    }

    /// Records that the member events of a response up to a position have been sent to the device.
    pub(super) fn record(&self, user: &UserId, device: &str, members: NewMembers, upto: Position) {
        let NewMembers { sent_before, new, .. } = members;
        {
            let mut sent = sent_before.lock();
            if sent.len() + new.len() > MAX_MEMBERS {
                sent.clear();
            }
            let new = new.into_iter().map(|(member, event)| (member, SentMember { event, upto }));
            sent.extend(new.take(MAX_MEMBERS));
        }
        self.0.insert((user.clone(), device.to_owned()), sent_before);
    }
}

impl NewMembers {
    /// Adds a member event to the response. Returns false if the device has it already.
    pub(super) fn add(&mut self, room: RoomNid, user: &Arc<str>, event: EventNid) -> bool {
        let key = (room, Arc::clone(user));
        let is_received = |sent: &&SentMember| sent.event == event && sent.upto <= self.since;
        let has = self.new.get(&key) == Some(&event) || self.sent_before.lock().get(&key).filter(is_received).is_some();
        if has {
            return false;
        }
        self.new.insert(key, event);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_response_that_was_lost_are_sent_again() {
        let (all, user): (_, UserId) = (SentMembers::default(), "@a:x".try_into().unwrap());
        let member: Arc<str> = "@b:x".into();
        let is_sent = |since: Option<Position>, event: EventNid, upto: Position| {
            let mut members = all.begin(&user, "A", since);
            let is_sent = members.add(7, &member, event);
            all.record(&user, "A", members, upto);
            is_sent
        };
        assert!(is_sent(None, 1, 10));
        assert!(!is_sent(Some(10), 1, 20), "the device has it");
        assert!(is_sent(Some(10), 2, 20), "it has changed");
        assert!(is_sent(Some(10), 2, 25), "the response was lost");
        assert!(!is_sent(Some(25), 2, 30));
        assert!(is_sent(None, 2, 40), "the device begins again");
    }
}
