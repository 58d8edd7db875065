//! Updates the engine's memory after each commit.
//!
//! The revision of a room counts its commits. A change with its writer's object takes the view to the next revision. A
//! change without one, or after a missed one, only marks the room as outdated: it is read again when it is next used.

use plexus_protocol::membership::Membership;
use plexus_store::{Change, CommitListener, HandedOver, RoomNid};

use crate::model::engine_memory::EngineMemory;
use crate::model::room::Room;
use crate::write::backfill::{MovedGap, RedactedPast};
use crate::write::expiry::ExpiredEvent;
use crate::write::partial_state::{CompletedState, OlderMemberships};
use crate::write::persist::AppendedBatch;

impl CommitListener for EngineMemory {
    fn apply(&self, changes: &[Change]) {
        let mut members_changed = false;
        for change in changes {
            match change {
                Change::Room { room, revision, redacts, object, .. } => {
                    apply_to_room(self, *room, *revision, *redacts, object);
                    self.sticky.note_change(*room);
                }
                Change::Membership { user, membership, .. } => {
                    let is_remote = user.server_name() != self.server_name.as_str();
                    members_changed |= is_remote;
                    self.memberships.set(user, *membership);
                    if !is_remote && matches!(membership.kind, Membership::Join | Membership::Knock) {
                        self.local_user_entered.notify_one();
                    }
                }
                Change::OlderMemberships { object, .. } => match object.get::<OlderMemberships>() {
                    Some(OlderMemberships(known)) => {
                        known.iter().for_each(|(user, membership)| self.memberships.set(user, *membership));
                    }
                    None => self.memberships.drop_remote_users(&self.server_name),
                },
                Change::Forgotten { user, room, position } => self.memberships.forget_room(user, *room, *position),
                Change::Sticky(event) => self.sticky.apply(*event),
                Change::Erased { user, .. } => self.erased.add(user),
                Change::Missed { .. } => {
                    self.memberships.drop_all();
                    self.rooms.doubt_all();
                    members_changed = true;
                }
                _ => {}
            }
        }
        if members_changed {
            self.directory.record_change();
        }
    }
}

fn apply_to_room(memory: &EngineMemory, nid: RoomNid, revision: i64, redacts: bool, object: &HandedOver) {
    let owns = |room: &Room| memory.rooms.owns(room);
    let room = if let Some(batch) = object.get::<AppendedBatch>().filter(|batch| batch.is_of(memory)) {
        return batch.apply(memory, nid, revision);
    } else if let Some(completed) = object.get::<CompletedState>().filter(|it| owns(&it.room)) {
        completed.apply(memory, revision);
        &completed.room
    } else if let Some(redacted) = object.get::<RedactedPast>().filter(|it| owns(&it.room)) {
        redacted.apply(memory, revision);
        &redacted.room
    } else if let Some(expired) = object.get::<ExpiredEvent>().filter(|it| owns(&it.room)) {
        expired.apply(memory, revision);
        &expired.room
    } else if let Some(moved) = object.get::<MovedGap>().filter(|it| owns(&it.room)) {
        moved.apply(revision);
        &moved.room
    } else {
        return memory.rooms.mark_outdated(nid, revision, redacts);
    };
    if let Some(other) = memory.rooms.advanced(room, revision) {
        other.mark_outdated(revision);
    }
}
