//! `GET /_matrix/client/v3/events`: the events of a user's rooms, or of one room that the user may only peek into
//! (<https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>). Only events in rooms are returned.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::{LongPoll, Shutdown};
use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::timeline::{self, Direction, VisibleEvent};
use plexus_rooms::{Room, RoomMembership, TimelineEvent};
use plexus_store::{DbError, Position, RoomNid};
use tokio::sync::futures::Notified;

use crate::SyncEngine;
use crate::delta::DeltaParts;
use crate::notifier::{MaybeChanged, Wait};
use crate::settings::UserSettings;

/// The most events of one response. The next request continues where it ends.
const MAX_EVENTS: usize = 100;

/// A request for the events after a position.
pub struct StreamRequest {
    /// The user who asks.
    pub user: UserId,
    /// The only room to read; `None` for the rooms that the user is in.
    pub room: Option<Arc<Room>>,
    /// The events come after this.
    pub after: Position,
    /// How long to wait for an event.
    pub timeout: Duration,
    /// Ends waiting early when the connection has to make room for another.
    pub long_poll: LongPoll,
}

/// The events between two positions, oldest first.
pub struct StreamPage {
    /// What the user may see of them.
    pub events: Vec<VisibleEvent>,
    /// Where the next page begins.
    pub end: Position,
}

/// Why events were not returned.
#[derive(Debug, thiserror::Error)]
pub enum EventStreamError {
    /// The user may not read the room, or not any more.
    #[error("The user may not read the room")]
    Forbidden,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Reads events as they come.
pub struct EventStream {
    engine: Arc<SyncEngine>,
    shutdown: Shutdown,
}

impl EventStream {
    /// Creates the service, which reads with the services of `engine`. `shutdown` ends waiting early.
    #[must_use]
    pub fn new(engine: Arc<SyncEngine>, shutdown: Shutdown) -> Self {
        Self { engine, shutdown }
    }

    fn parts(&self) -> &DeltaParts {
        self.engine.deltas().parts()
    }

    /// Returns the position of the newest event that can be read.
    #[must_use]
    pub fn now(&self) -> Position {
        self.parts().db.committed()
    }

    /// Returns the events after a position. Waits up to the request's timeout when there are none.
    ///
    /// # Errors
    /// When the user may not read the room, or the database fails.
    pub async fn next(&self, request: StreamRequest) -> Result<StreamPage, EventStreamError> {
        let StreamRequest { user, room, mut after, timeout, long_poll } = request;
        // Registered before anything is read, so that nothing falls between reading and waiting.
        let wait = match &room {
            Some(room) => EventWait::Room(self.parts().notifier.wait_for_room(room.nid)),
            None => EventWait::User(self.parts().notifier.wait(&user)),
        };
        let mut deadline = pin!(self.parts().clock.sleep(timeout));
        loop {
            let woken = wait.woken();
            let now = self.now();
            let page = match &room {
                Some(room) => self.of_room(&user, room, after, now).await?,
                None => self.of_rooms(&user, after, now).await?,
            };
            if !page.events.is_empty() || timeout.is_zero() {
                return Ok(page);
            }
            after = page.end;
            if page.end < now {
                // A full page of events that are not shown.
                tokio::select! {
                    biased;
                    () = &mut deadline => return Ok(page),
                    () = std::future::ready(()) => continue,
                }
            }
            let waiting = long_poll.wait();
            tokio::select! {
                () = woken => continue,
                () = self.shutdown.begun() => {}
                () = waiting.must_end() => {}
                () = &mut deadline => {}
            }
            drop(waiting);
            return Ok(page);
        }
    }

    async fn of_room(
        &self,
        user: &UserId,
        room: &Room,
        after: Position,
        now: Position,
    ) -> Result<StreamPage, EventStreamError> {
        // Read each time: the user may leave, and the room may cease to be world readable.
        let access = timeline::access(room, user).await?.ok_or(EventStreamError::Forbidden)?;
        let settings = self.parts().settings.get(user).await?;
        let mut page = Page { events: Vec::new(), end: now.max(after) };
        page.add_room(user, &settings, room, Span { after, upto: access.upto(now) }).await?;
        Ok(page.finish())
    }

    async fn of_rooms(&self, user: &UserId, after: Position, now: Position) -> Result<StreamPage, EventStreamError> {
        let settings = self.parts().settings.get(user).await?;
        let memberships = self.parts().rooms.memberships().of(user).await?;
        let is_joined = |room| memberships.get(room).is_some_and(|membership| membership.kind == Membership::Join);
        let changed = match self.parts().notifier.index().rooms_changed(after, is_joined, || memberships.joined()) {
            MaybeChanged::Known(rooms) => rooms,
            MaybeChanged::Unknown => memberships.joined().collect(),
        };
        let mut page = Page { events: Vec::new(), end: now.max(after) };
        for room in changed {
            if let Some(room) = self.parts().rooms.get_readable_nid(room).await? {
                let span = Span { after, upto: now.min(page.end) };
                page.add_room(user, &settings, &room, span).await?;
            }
        }
        let is_new = |membership: &&RoomMembership| membership.position > after && membership.position <= now;
        for membership in memberships.iter().filter(is_new).filter(|membership| membership.kind != Membership::Join) {
            if let Some(room) = self.parts().rooms.get_readable_nid(membership.room).await? {
                page.add_own_member_event(user, &settings, &room, membership).await?;
            }
        }
        Ok(page.finish())
    }
}

/// What a request waits for.
enum EventWait {
    /// Something that concerns the user.
    User(Wait<UserId>),
    /// An event in the room.
    Room(Wait<RoomNid>),
}

impl EventWait {
    /// Resolves at the first wake-up after this call.
    fn woken(&self) -> Notified<'_> {
        match self {
            Self::User(wait) => wait.woken(),
            Self::Room(wait) => wait.woken(),
        }
    }
}

/// Events with `after < position <= upto`.
#[derive(Clone, Copy)]
struct Span {
    after: Position,
    upto: Position,
}

/// A page that is being read: at most [`MAX_EVENTS`], of several rooms.
struct Page {
    events: Vec<(Position, VisibleEvent)>,
    /// Every event up to here is among `events`.
    end: Position,
}

impl Page {
    async fn add_room(
        &mut self,
        user: &UserId,
        settings: &UserSettings,
        room: &Room,
        span: Span,
    ) -> Result<(), DbError> {
        let read = timeline::range(room, span.after, span.upto, MAX_EVENTS, Direction::Forward).await?;
        if read.len() == MAX_EVENTS {
            self.end = read.last().map_or(self.end, |last| self.end.min(last.position));
        }
        let is_shown = |event: &Arc<TimelineEvent>| settings.shows_event(&event.pdu);
        let shown = timeline::visible(user, room, read.into_iter().filter(is_shown).collect()).await?;
        self.events.extend(shown.into_iter().map(|visible| (visible.event.position, visible)));
        self.bound();
        Ok(())
    }

    /// Adds the event by which the user was invited to a room, or left it: other events of it are not visible.
    async fn add_own_member_event(
        &mut self,
        user: &UserId,
        settings: &UserSettings,
        room: &Room,
        membership: &RoomMembership,
    ) -> Result<(), DbError> {
        let view = room.view();
        let Some(entry) = view.state.get("m.room.member", user.as_str()) else { return Ok(()) };
        let Some(event) = room.readable_state_event(entry).await? else { return Ok(()) };
        if membership.kind != Membership::Invite || settings.shows_invite_by(event.pdu.sender()) {
            self.events.push((membership.position, VisibleEvent { event, membership: membership.kind }));
            self.bound();
        }
        Ok(())
    }

    /// Keeps the oldest events.
    fn bound(&mut self) {
        self.events.sort_by_key(|(position, _)| *position);
        self.events.truncate(MAX_EVENTS + 1);
        if self.events.len() > MAX_EVENTS {
            self.events.pop();
            self.end = self.events.last().map_or(self.end, |(last, _)| self.end.min(*last));
        }
    }

    fn finish(self) -> StreamPage {
        let end = self.end;
        let events = self.events.into_iter().filter(|(position, _)| *position <= end);
        StreamPage { events: events.map(|(_, visible)| visible).collect(), end }
    }
}
