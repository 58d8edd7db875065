//! The servers to which something is on its way. Who has got everything is not in here and costs nothing.

use std::collections::{HashMap, VecDeque};

use plexus_net::CameBack;
use plexus_protocol::id::ServerName;
use plexus_store::Position;

use super::batch::MOST;
use super::ephemeral::Ephemeral;
use super::refusals::{Refusals, widened};

/// How many ephemeral EDUs wait for one server; then the oldest is lost.
const EPHEMERAL: usize = 500;

/// Among whom a server takes its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Those that answer at once, as far as is known.
    Prompt,
    /// Those that have kept us waiting, or failed.
    Slow,
}

/// Where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In `Book::ready` of its lane.
    Ready,
    /// A transaction is under way; `again` when something came meanwhile that says it is there.
    Sending { again: bool },
    /// It failed, and is about to be tried again.
    Retried,
    /// It failed, and is left alone.
    Failed,
    /// It has everything but messages to devices, which are held back.
    Held,
}

#[derive(Debug)]
struct Destination {
    stage: Stage,
    /// Where it takes its next turn.
    lane: Lane,
    /// It has got everything up to here.
    cursor: Position,
    /// The newest durable piece of news for it.
    newest: Position,
    /// There may be messages for its devices.
    to_device: bool,
    /// It refuses so many of them that they are held back for now.
    holds_to_device: bool,
    /// The most pieces in its next transaction, while the one that it refuses is being found.
    limit: Option<usize>,
    ephemeral: VecDeque<Ephemeral>,
    /// It failed, and has not caught up since.
    away: bool,
    /// Whether its cursor is to be kept in the database.
    keep: bool,
    /// Its cursor in the database.
    kept: Option<Position>,
}

/// The servers to which something is on its way.
pub(super) struct Book {
    /// Everything at or before this has been looked at.
    pub distributed: Position,
    destinations: HashMap<ServerName, Destination>,
    ready: Ready,
    /// Servers that have caught up, whose cursors are still in the database.
    caught_up: Vec<ServerName>,
    /// What `federation_position` holds.
    stored: Position,
    pub refusals: Refusals,
}

/// The servers whose turn it is, in their order.
#[derive(Default)]
struct Ready {
    prompt: VecDeque<ServerName>,
    slow: VecDeque<ServerName>,
}

impl Ready {
    fn of(&mut self, lane: Lane) -> &mut VecDeque<ServerName> {
        match lane {
            Lane::Prompt => &mut self.prompt,
            Lane::Slow => &mut self.slow,
        }
    }
}

/// A server that is behind, as the database has it.
pub(super) struct Behind {
    pub server: ServerName,
    pub cursor: Position,
    /// It failed before the restart.
    pub away: bool,
}

/// What to send next.
pub(super) struct Turn {
    pub server: ServerName,
    pub cursor: Position,
    pub upto: Position,
    pub to_device: bool,
    /// The most pieces that the transaction may have.
    pub limit: Option<usize>,
    pub ephemeral: Vec<Ephemeral>,
    /// It failed, and has not caught up since.
    pub was_away: bool,
}

/// What is to be written: see `repo::federation_out::set_progress`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub position: Position,
    pub behind: Vec<(ServerName, Position)>,
    pub caught_up: Vec<ServerName>,
}

impl Book {
    /// As the database has it.
    pub fn new(position: Position, behind: Vec<Behind>, to_device: Vec<ServerName>) -> Self {
        let mut book = Self {
            distributed: position,
            destinations: HashMap::new(),
            ready: Ready::default(),
            caught_up: Vec::new(),
            stored: position,
            refusals: Refusals::default(),
        };
        for Behind { server, cursor, away } in behind {
            let lane = if away { Lane::Slow } else { Lane::Prompt };
            let destination = book.entry_in(lane, server);
            destination.cursor = cursor;
            destination.newest = position;
            destination.away = away;
            destination.keep = true;
            destination.kept = Some(cursor);
        }
        for server in to_device {
            book.messages(server);
        }
        book
    }

    /// There is a durable piece of news for a server. Those at or before `before` it has got, unless it is behind already.
    pub fn news(&mut self, server: ServerName, before: Position, position: Position) {
        let is_new = !self.destinations.contains_key(&server);
        let destination = self.entry(server.clone());
        if is_new {
            destination.cursor = before;
        }
        destination.newest = destination.newest.max(position);
        self.wake(&server);
    }

    /// There are messages for the devices of a server.
    pub fn messages(&mut self, server: ServerName) {
        self.entry(server).to_device = true;
    }

    /// There is something for a server that it can do without: nothing is kept for one that is left alone.
    pub fn ephemeral(&mut self, server: ServerName, edu: Ephemeral) {
        let destination = self.entry(server.clone());
        if destination.stage == Stage::Failed {
            return;
        }
        destination.ephemeral.retain(|other| other.key() != edu.key());
        if destination.ephemeral.len() >= EPHEMERAL {
            destination.ephemeral.pop_front();
        }
        destination.ephemeral.push_back(edu);
        self.wake(&server);
    }

    /// There is something that may be sent to a server whose messages to devices are held back.
    fn wake(&mut self, server: &ServerName) {
        let Some(destination) = self.destinations.get_mut(server) else { return };
        if destination.stage == Stage::Held {
            destination.stage = Stage::Ready;
            self.ready.of(destination.lane).push_back(server.clone());
        }
    }

    /// The next server whose turn it is in a lane.
    pub fn next(&mut self, lane: Lane) -> Option<Turn> {
        loop {
            let server = self.ready.of(lane).pop_front()?;
            let upto = self.distributed;
            let Some(destination) = self.destinations.get_mut(&server) else { continue };
            // It may have changed lanes since it was put here.
            if destination.stage != Stage::Ready || destination.lane != lane {
                continue;
            }
            destination.stage = Stage::Sending { again: false };
            return Some(Turn {
                cursor: destination.cursor,
                upto,
                to_device: !destination.holds_to_device && std::mem::take(&mut destination.to_device),
                limit: destination.limit,
                ephemeral: destination.ephemeral.drain(..).collect(),
                was_away: destination.away,
                server,
            });
        }
    }

    /// Whether it is the turn of a server that is not known to be slow.
    pub fn prompt_ones_wait(&self) -> bool {
        !self.ready.prompt.is_empty()
    }

    /// A server takes long, and has been given up for now: it has its turn again among the slow.
    pub fn gave_way(&mut self, turn: Turn) {
        if let Some(destination) = self.destinations.get_mut(&turn.server) {
            destination.lane = Lane::Slow;
        }
        self.again(turn);
    }

    /// A server refuses something in a transaction: the next one has at most `limit` pieces of it.
    pub fn narrow(&mut self, turn: Turn, limit: usize) {
        if let Some(destination) = self.destinations.get_mut(&turn.server) {
            destination.limit = Some(limit);
        }
        self.again(turn);
    }

    /// A server refuses so many messages to devices that they are held back until it [comes back](Self::came_back). It
    /// gets everything else.
    pub fn hold_to_device(&mut self, turn: Turn) {
        if let Some(destination) = self.destinations.get_mut(&turn.server) {
            destination.holds_to_device = true;
        }
        self.again(turn);
    }

    /// A turn led to nothing, and the server has it again.
    fn again(&mut self, turn: Turn) {
        let Some(destination) = self.destinations.get_mut(&turn.server) else { return };
        destination.to_device |= turn.to_device;
        turn.ephemeral.into_iter().rev().for_each(|edu| destination.ephemeral.push_front(edu));
        destination.stage = Stage::Ready;
        self.ready.of(destination.lane).push_back(turn.server);
    }

    /// A server has got everything up to `cursor`; `more_to_device`: there are more messages for its devices. What of its
    /// ephemeral EDUs did not fit comes back.
    pub fn sent(&mut self, server: &ServerName, cursor: Position, more_to_device: bool, unsent: Vec<Ephemeral>) {
        let Some(destination) = self.destinations.get_mut(server) else { return };
        destination.cursor = destination.cursor.max(cursor);
        destination.lane = Lane::Prompt;
        destination.limit = destination.limit.and_then(|limit| widened(limit, MOST));
        destination.to_device |= more_to_device;
        unsent.into_iter().rev().for_each(|edu| destination.ephemeral.push_front(edu));
        if destination.lacks()
            || (destination.to_device && !destination.holds_to_device)
            || !destination.ephemeral.is_empty()
        {
            destination.stage = Stage::Ready;
            self.ready.prompt.push_back(server.clone());
            return;
        }
        if destination.to_device {
            destination.stage = Stage::Held;
            return;
        }
        let kept = destination.kept.is_some();
        self.destinations.remove(server);
        if kept {
            self.caught_up.push(server.clone());
        }
    }

    /// A server could not be reached, or refused. It is tried again when it [comes back](Self::came_back). `is_retried`:
    /// that will be soon, and its ephemeral EDUs are kept until then. Returns whether that has happened already.
    pub fn failed(&mut self, turn: Turn, is_retried: bool) -> bool {
        let Turn { server, to_device, ephemeral, .. } = turn;
        let Some(destination) = self.destinations.get_mut(&server) else { return false };
        let is_back = destination.stage == (Stage::Sending { again: true });
        let is_retried = is_retried || is_back;
        destination.to_device |= to_device;
        if is_retried {
            ephemeral.into_iter().rev().for_each(|edu| destination.ephemeral.push_front(edu));
        } else {
            destination.ephemeral.clear();
        }
        let must_have = destination.lacks() || destination.to_device;
        if !must_have && destination.ephemeral.is_empty() {
            self.forget(&server);
            return false;
        }
        destination.keep |= must_have;
        destination.away |= !is_retried;
        if is_back {
            destination.stage = Stage::Ready;
            self.ready.of(destination.lane).push_back(server);
        } else {
            destination.lane = Lane::Slow;
            destination.stage = if is_retried { Stage::Retried } else { Stage::Failed };
        }
        is_back
    }

    /// A server is not to be spoken with.
    pub fn forget(&mut self, server: &ServerName) {
        if self.destinations.remove(server).is_some_and(|destination| destination.kept.is_some()) {
            self.caught_up.push(server.clone());
        }
    }

    /// A server that failed is worth trying again: at once if it is up, with the other slow ones if it may not be.
    pub fn came_back(&mut self, CameBack { server, is_up }: &CameBack) {
        let Some(destination) = self.destinations.get_mut(server) else { return };
        destination.holds_to_device = false;
        let lane = match (is_up, destination.stage) {
            (true, _) => Lane::Prompt,
            (false, Stage::Ready | Stage::Held) => destination.lane,
            (false, Stage::Sending { .. } | Stage::Retried | Stage::Failed) => Lane::Slow,
        };
        let changes_lane = std::mem::replace(&mut destination.lane, lane) != lane;
        match &mut destination.stage {
            Stage::Ready if !changes_lane => {}
            Stage::Sending { again } => *again = true,
            Stage::Ready | Stage::Retried | Stage::Failed | Stage::Held => {
                destination.stage = Stage::Ready;
                self.ready.of(lane).push_back(server.clone());
            }
        }
    }

    /// Nothing more will be sent in this run. Who lacks something gets a cursor, so that nobody else is sent anything again
    /// after the restart.
    pub fn close(&mut self) {
        for destination in self.destinations.values_mut() {
            destination.keep |= destination.lacks();
        }
    }

    /// What the database does not know yet; `None` when it knows everything. To be given back when it cannot be written.
    pub fn progress(&mut self) -> Option<Progress> {
        let mut progress = Progress {
            position: self.distributed,
            caught_up: std::mem::take(&mut self.caught_up),
            ..Progress::default()
        };
        for (server, destination) in &mut self.destinations {
            if !destination.keep {
                // It must not be forgotten that it lacks something: nothing is said of those who are on their way.
                if destination.lacks() {
                    progress.position = progress.position.min(destination.cursor);
                }
            } else if destination.kept != Some(destination.cursor) {
                destination.kept = Some(destination.cursor);
                progress.behind.push((server.clone(), destination.cursor));
            }
        }
        // One that has caught up and fallen behind again has a row again.
        progress.caught_up.retain(|server| self.destinations.get(server).is_none_or(|it| !it.keep));
        progress.position = progress.position.max(self.stored);
        let anything = progress.position > self.stored || !progress.behind.is_empty() || !progress.caught_up.is_empty();
        self.stored = progress.position;
        anything.then_some(progress)
    }

    /// [`Self::progress`] could not be written.
    pub fn unwritten(&mut self, progress: &Progress) {
        self.caught_up.extend(progress.caught_up.iter().cloned());
        for (server, _) in &progress.behind {
            if let Some(destination) = self.destinations.get_mut(server) {
                destination.kept = None;
            }
        }
        self.stored = self.stored.min(progress.position.saturating_sub(1));
    }

    /// Everybody has got everything up to here, and the database knows it.
    pub fn everybody_has(&self) -> Position {
        self.destinations
            .values()
            .map(|destination| destination.cursor)
            .min()
            .map_or(self.stored, |at| at.min(self.stored))
    }

    fn entry(&mut self, server: ServerName) -> &mut Destination {
        self.entry_in(Lane::Prompt, server)
    }

    fn entry_in(&mut self, lane: Lane, server: ServerName) -> &mut Destination {
        let distributed = self.distributed;
        self.destinations.entry(server).or_insert_with_key(|server| {
            self.ready.of(lane).push_back(server.clone());
            Destination {
                stage: Stage::Ready,
                lane,
                cursor: distributed,
                newest: 0,
                to_device: false,
                holds_to_device: false,
                limit: None,
                ephemeral: VecDeque::new(),
                away: false,
                keep: false,
                kept: None,
            }
        })
    }
}

impl Destination {
    /// Whether there are durable pieces of news that it has not got.
    fn lacks(&self) -> bool {
        self.cursor < self.newest
    }
}

#[cfg(test)]
mod tests;
