//! The log for pushers: the events that notify their users.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::timeline::{self, Direction};
use plexus_rooms::{Room, Rooms, TimelineEvent};
use plexus_store::repo::pushers::{self, PusherKey};
use plexus_store::{Database, DbError, Position, RoomNid, Tx, repo};
use plexus_sync::{SettingsCache, UnreadCounts};

use super::changes::{ChangedPushers, PushChanges, Pushable};
use super::owners::PushOwners;
use crate::damaged::without_damaged;
use crate::outbox::{Content, Due, LogChunk, LogEntry, Recipients};

/// The most events, and the most invites, that are evaluated at once.
const MAX_ROWS: usize = 500;
/// The memory of an entry for each pusher, in bytes.
const RECIPIENT_BYTES: usize = 32;

/// An event of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct PushedEvent {
    pub(super) room: RoomNid,
    recipients: usize,
}

impl Content for PushedEvent {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.recipients * RECIPIENT_BYTES
    }
}

/// The pushers that get an event.
pub(super) struct PushRecipients(HashSet<Arc<PusherKey>>);

impl Recipients<Arc<PusherKey>> for PushRecipients {
    fn contains(&self, key: &Arc<PusherKey>) -> bool {
        self.0.contains(key)
    }

    fn keys(&self) -> Vec<Arc<PusherKey>> {
        self.0.iter().map(Arc::clone).collect()
    }
}

/// An event as a user sees it.
pub(super) struct SeenEvent {
    pub(super) room: Arc<Room>,
    pub(super) event: Arc<TimelineEvent>,
}

/// Reads the log.
pub(super) struct PushLog {
    pub(super) db: Database,
    pub(super) rooms: Arc<Rooms>,
    pub(super) unread: Arc<UnreadCounts>,
    pub(super) settings: Arc<SettingsCache>,
    pub(super) owners: Arc<PushOwners>,
    pub(super) changes: Arc<PushChanges>,
}

type Chunk = LogChunk<PushedEvent, PushRecipients>;

impl PushLog {
    /// Reads the log after `after` up to `upto`, or less of it, and finds the users that each event notifies.
    pub(super) async fn read(&self, after: Position, upto: Position) -> Result<Chunk, DbError> {
        // First: an event may follow the pusher that gets it at once.
        self.follow_owners().await?;
        let pushable = match self.changes.between(after, upto, MAX_ROWS) {
            Some(pushable) => pushable,
            None => self.stored(after, upto).await?,
        };
        let mut entries = Vec::new();
        for (position, room) in pushable.events {
            let lost = || format!("nobody is notified of the event at position {position}");
            let notified = without_damaged(lost, self.notified(room, position)).await?;
            entries.extend(self.entry(room, position, &notified));
        }
        for invite in pushable.invites {
            entries.extend(self.entry(invite.room, invite.position, &[invite.user]));
        }
        entries.sort_by_key(|entry| entry.position);
        self.changes.distributed(pushable.upto);
        Ok(LogChunk { entries, upto: pushable.upto })
    }

    /// Returns the users with pushers that an event notifies.
    async fn notified(&self, room: RoomNid, position: Position) -> Result<Vec<UserId>, DbError> {
        let Some(room) = self.rooms.get_readable_nid(room).await? else { return Ok(Vec::new()) };
        let members = self.owners.in_room(&room.view());
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let Some(event) = event_at(&room, position).await? else { return Ok(Vec::new()) };
        let mut notified = Vec::new();
        for user in members {
            let lost = || format!("{user} is not notified of the event at position {position}");
            if without_damaged(lost, self.unread.outcome(&user, &room, &event)).await?.notify {
                notified.push(user);
            }
        }
        Ok(notified)
    }

    /// Reads the pushers that have changed.
    async fn follow_owners(&self) -> Result<(), DbError> {
        while let Some(changed) = self.changes.take_changed_pushers() {
            let read = match &changed {
                ChangedPushers::All => self.owners.load().await.map(drop),
                ChangedPushers::Of(user) => self.owners.reload(user).await,
            };
            match read {
                Err(error) if error.is_of_one() => tracing::warn!("a change of pushers is not followed: {error}"),
                Err(error) => {
                    self.changes.put_back(changed);
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        room: RoomNid,
        position: Position,
        notified: &[UserId],
    ) -> Option<LogEntry<PushedEvent, PushRecipients>> {
        let pushers = notified.iter().flat_map(|user| self.owners.pushers(user, position));
        let recipients: HashSet<Arc<PusherKey>> = pushers.collect();
        let content = PushedEvent { room, recipients: recipients.len() };
        (!recipients.is_empty()).then(|| LogEntry { position, content, recipients: PushRecipients(recipients) })
    }

    /// Reads from the database what was committed before this process began, or was too much to be collected.
    async fn stored(&self, after: Position, upto: Position) -> Result<Pushable, DbError> {
        let after = after.max(self.owners.oldest_since());
        if after >= upto {
            return Ok(Pushable { upto, ..Pushable::default() });
        }
        let mut rooms = Vec::new();
        for room in self.db.read(move |tx| repo::search_progress::rooms_after(tx, after)).await? {
            if let Some(room) = self.rooms.get_readable_nid(room).await?
                && !self.owners.in_room(&room.view()).is_empty()
            {
                rooms.push(room.nid);
            }
        }
        let read = move |tx: &mut Tx<'_>| {
            let events = pushers::events_of_rooms(tx, &rooms, after, upto, MAX_ROWS as u64)?;
            let mut invites = pushers::invites_between(tx, after, upto)?;
            invites.sort_by_key(|invite| invite.position);
            Ok::<_, DbError>((events, invites))
        };
        let (events, mut invites) = self.db.read(read).await?;
        invites.truncate(MAX_ROWS);
        let events = events.into_iter().map(|(room, position)| (position, room)).collect();
        let mut pushable = Pushable { events, invites, upto };
        pushable.end_at_limit(MAX_ROWS);
        Ok(pushable)
    }

    /// Reads the events of a user's rooms after `after` up to `upto`, or less of them; whether they notify the user is
    /// found out when they are delivered.
    pub(super) async fn of_user(
        &self,
        user: &UserId,
        after: Position,
        upto: Position,
    ) -> Result<Due<PushedEvent>, DbError> {
        let memberships = self.rooms.memberships().of(user).await?;
        let joined: Vec<RoomNid> = memberships.joined().collect();
        let read = move |tx: &mut Tx<'_>| pushers::events_of_rooms(tx, &joined, after, upto, MAX_ROWS as u64);
        let events: Vec<(RoomNid, Position)> = self.db.read(read).await?;
        let upto = if events.len() < MAX_ROWS { upto } else { events.last().map_or(upto, |(_, position)| *position) };
        let is_due = |position: Position| position > after && position <= upto;
        let invites = memberships.iter().filter(|it| it.kind == Membership::Invite && is_due(it.position));
        let invites = invites.map(|invite| (invite.room, invite.position));
        let mut entries: Vec<_> = (events.into_iter().chain(invites))
            .map(|(room, position)| (position, PushedEvent { room, recipients: 1 }))
            .collect();
        entries.sort_by_key(|(position, _)| *position);
        Ok(Due { entries, upto })
    }

    /// Returns an event if the user sees it: as a member at the time, or as an invite that the user accepts.
    pub(super) async fn seen_by(
        &self,
        user: &UserId,
        room: RoomNid,
        position: Position,
    ) -> Result<Option<SeenEvent>, DbError> {
        let memberships = self.rooms.memberships().of(user).await?;
        let Some(membership) = memberships.get(room) else { return Ok(None) };
        let Some(room) = self.rooms.get_readable_nid(room).await? else { return Ok(None) };
        let event = match membership.kind {
            Membership::Join => {
                // The membership is newer than the event also after a change of the profile.
                let was_member =
                    membership.position < position || was_joined(&room, user.as_str(), position - 1).await?;
                if was_member { event_at(&room, position).await? } else { None }
            }
            Membership::Invite if membership.position == position => {
                let view = room.view();
                let Some(entry) = view.state.get("m.room.member", user.as_str()) else { return Ok(None) };
                let invite = room.readable_state_event(entry).await?;
                let settings = self.settings.get(user).await?;
                invite.filter(|invite| settings.shows_invite_by(invite.pdu.sender()))
            }
            _ => None,
        };
        Ok(event.map(|event| SeenEvent { room, event }))
    }
}

/// Whether a user was in a room at a position.
async fn was_joined(room: &Room, user: &str, position: Position) -> Result<bool, DbError> {
    let event = timeline::state_event_at(room, position, "m.room.member", user).await?;
    Ok(event.and_then(|event| Membership::of(&event.pdu)) == Some(Membership::Join))
}

/// Returns the event at a position of a room's timeline.
async fn event_at(room: &Room, position: Position) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    Ok(timeline::range(room, position - 1, position, 1, Direction::Forward).await?.pop())
}
