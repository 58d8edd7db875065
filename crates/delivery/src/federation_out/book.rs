//! The servers to which something is on its way. Who has got everything is not in here and costs nothing.

use std::collections::{HashMap, VecDeque};

use plexus_protocol::id::ServerName;
use plexus_store::Position;

use super::ephemeral::Ephemeral;

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
    /// It failed.
    Failed,
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
        let destination = self.entry(server);
        if is_new {
            destination.cursor = before;
        }
        destination.newest = destination.newest.max(position);
    }

    /// There are messages for the devices of a server.
    pub fn messages(&mut self, server: ServerName) {
        self.entry(server).to_device = true;
    }

    /// There is something for a server that it can do without: nothing is kept for one that failed.
    pub fn ephemeral(&mut self, server: ServerName, edu: Ephemeral) {
        let destination = self.entry(server);
        if destination.stage == Stage::Failed {
            return;
        }
        destination.ephemeral.retain(|other| other.key() != edu.key());
        if destination.ephemeral.len() >= EPHEMERAL {
            destination.ephemeral.pop_front();
        }
        destination.ephemeral.push_back(edu);
    }

    /// The next server whose turn it is in a lane.
    pub fn next(&mut self, lane: Lane) -> Option<Turn> {
        loop {
            let server = self.ready.of(lane).pop_front()?;
            let upto = self.distributed;
            let Some(destination) = self.destinations.get_mut(&server) else { continue };
            destination.stage = Stage::Sending { again: false };
            return Some(Turn {
                cursor: destination.cursor,
                upto,
                to_device: std::mem::take(&mut destination.to_device),
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
        let Some(destination) = self.destinations.get_mut(&turn.server) else { return };
        destination.to_device |= turn.to_device;
        turn.ephemeral.into_iter().rev().for_each(|edu| destination.ephemeral.push_front(edu));
        destination.lane = Lane::Slow;
        destination.stage = Stage::Ready;
        self.ready.slow.push_back(turn.server);
    }

    /// A server has got everything up to `cursor`; `more_to_device`: there are more messages for its devices. What of its
    /// ephemeral EDUs did not fit comes back.
    pub fn sent(&mut self, server: &ServerName, cursor: Position, more_to_device: bool, unsent: Vec<Ephemeral>) {
        let Some(destination) = self.destinations.get_mut(server) else { return };
        destination.cursor = destination.cursor.max(cursor);
        destination.lane = Lane::Prompt;
        destination.to_device |= more_to_device;
        unsent.into_iter().rev().for_each(|edu| destination.ephemeral.push_front(edu));
        let idle = !destination.lacks() && !destination.to_device && destination.ephemeral.is_empty();
        if !idle {
            destination.stage = Stage::Ready;
            self.ready.prompt.push_back(server.clone());
            return;
        }
        let kept = destination.kept.is_some();
        self.destinations.remove(server);
        if kept {
            self.caught_up.push(server.clone());
        }
    }

    /// A server could not be reached, or refused; `to_device`: it was its turn to get messages. It is tried again when it comes
    /// back, if there is anything that it must get.
    pub fn failed(&mut self, server: &ServerName, to_device: bool) {
        let Some(destination) = self.destinations.get_mut(server) else { return };
        destination.to_device |= to_device;
        if !destination.lacks() && !destination.to_device {
            self.forget(server);
            return;
        }
        destination.lane = Lane::Slow;
        destination.away = true;
        destination.keep = true;
        if destination.stage == (Stage::Sending { again: true }) {
            destination.stage = Stage::Ready;
            self.ready.slow.push_back(server.clone());
        } else {
            destination.stage = Stage::Failed;
            destination.ephemeral.clear();
        }
    }

    /// A server is not to be spoken with.
    pub fn forget(&mut self, server: &ServerName) {
        if self.destinations.remove(server).is_some_and(|destination| destination.kept.is_some()) {
            self.caught_up.push(server.clone());
        }
    }

    /// A server that failed is worth trying again.
    pub fn came_back(&mut self, server: &ServerName) {
        let Some(destination) = self.destinations.get_mut(server) else { return };
        match &mut destination.stage {
            Stage::Ready => {}
            Stage::Sending { again } => *again = true,
            Stage::Failed => {
                destination.stage = Stage::Ready;
                self.ready.of(destination.lane).push_back(server.clone());
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
mod tests {
    use super::*;

    fn server(name: &str) -> ServerName {
        name.parse().unwrap()
    }

    #[test]
    fn who_has_got_everything_costs_nothing() {
        let mut book = Book::new(5, Vec::new(), Vec::new());
        book.news(server("a"), 5, 6);
        book.distributed = 6;
        let turn = book.next(Lane::Prompt).unwrap();
        assert_eq!((turn.cursor, turn.upto), (5, 6));
        // Under way: a restart must look at position 6 again.
        assert_eq!(book.progress(), None);
        book.sent(&turn.server, 6, false, Vec::new());
        assert!(book.destinations.is_empty() && book.next(Lane::Prompt).is_none());
        assert_eq!(book.progress().unwrap(), Progress { position: 6, ..Progress::default() });
        assert_eq!(book.progress(), None);
    }

    #[test]
    fn one_that_fails_gets_a_cursor_and_holds_up_nobody() {
        let mut book = Book::new(0, Vec::new(), Vec::new());
        book.news(server("a"), 0, 1);
        book.news(server("b"), 0, 1);
        book.distributed = 1;
        let (a, b) = (book.next(Lane::Prompt).unwrap().server, book.next(Lane::Prompt).unwrap().server);
        book.failed(&a, false);
        book.sent(&b, 1, false, Vec::new());
        let progress = book.progress().unwrap();
        assert_eq!(progress, Progress { position: 1, behind: vec![(a.clone(), 0)], caught_up: Vec::new() });
        assert_eq!(book.everybody_has(), 0);
        book.news(a.clone(), 1, 2);
        book.distributed = 2;
        assert!(book.next(Lane::Prompt).is_none());
        book.came_back(&a);
        assert!(book.next(Lane::Prompt).is_none());
        let turn = book.next(Lane::Slow).unwrap();
        assert_eq!((turn.cursor, turn.upto), (0, 2));
        book.sent(&a, 2, false, Vec::new());
        assert_eq!(book.progress().unwrap(), Progress { position: 2, behind: Vec::new(), caught_up: vec![a] });
    }

    #[test]
    fn a_message_to_5000_servers_writes_none_of_them_down() {
        let mut book = Book::new(0, Vec::new(), Vec::new());
        for number in 0..5_000 {
            book.news(server(&format!("s{number}")), 0, 1);
        }
        book.distributed = 1;
        assert_eq!(book.progress(), None);
        while let Some(turn) = book.next(Lane::Prompt) {
            book.sent(&turn.server, 1, false, Vec::new());
        }
        assert!(book.destinations.is_empty());
        assert_eq!(book.progress().unwrap(), Progress { position: 1, ..Progress::default() });
    }

    #[test]
    fn one_that_talks_to_us_while_it_fails_is_tried_again() {
        let mut book = Book::new(0, Vec::new(), Vec::new());
        book.news(server("a"), 0, 1);
        let turn = book.next(Lane::Prompt).unwrap();
        book.came_back(&turn.server);
        book.failed(&turn.server, false);
        assert!(book.next(Lane::Slow).is_some());
    }

    #[test]
    fn a_cursor_of_the_last_run_is_where_it_goes_on() {
        let behind = |name, cursor, away| Behind { server: server(name), cursor, away };
        let mut book = Book::new(9, vec![behind("a", 3, false), behind("c", 2, true)], vec![server("b")]);
        let (first, second) = (book.next(Lane::Prompt).unwrap(), book.next(Lane::Prompt).unwrap());
        assert_eq!((first.server.as_str(), first.cursor, first.upto), ("a", 3, 9));
        assert!(second.server.as_str() == "b" && second.to_device);
        let failed = book.next(Lane::Slow).unwrap();
        assert!(failed.server.as_str() == "c" && failed.was_away && !first.was_away);
    }

    #[test]
    fn one_that_takes_long_gives_way_and_loses_nothing() {
        let mut book = Book::new(0, Vec::new(), Vec::new());
        let typing = |content: &str| Ephemeral::Typing { key: "!r @u".into(), content: content.into() };
        book.ephemeral(server("a"), typing("{}"));
        book.messages(server("a"));
        book.news(server("b"), 0, 1);
        let turn = book.next(Lane::Prompt).unwrap();
        assert!(book.prompt_ones_wait());
        book.gave_way(turn);
        assert_eq!(book.next(Lane::Prompt).unwrap().server, server("b"));
        assert!(!book.prompt_ones_wait());
        let turn = book.next(Lane::Slow).unwrap();
        assert!(turn.server == server("a") && turn.to_device && turn.ephemeral.len() == 1 && !turn.was_away);
        // It answers in the end, and is as good as any other.
        book.messages(server("a"));
        book.sent(&turn.server, 0, false, Vec::new());
        assert_eq!(book.next(Lane::Prompt).unwrap().server, server("a"));
    }

    #[test]
    fn at_the_end_those_on_their_way_are_told_apart_from_those_that_have_everything() {
        let mut book = Book::new(0, Vec::new(), Vec::new());
        book.news(server("a"), 0, 1);
        book.news(server("b"), 0, 1);
        book.messages(server("c"));
        book.distributed = 1;
        let (a, b) = (book.next(Lane::Prompt).unwrap(), book.next(Lane::Prompt).unwrap());
        book.sent(&b.server, 1, false, Vec::new());
        assert_eq!(book.progress(), None);
        book.close();
        let progress = book.progress().unwrap();
        assert_eq!(progress, Progress { position: 1, behind: vec![(a.server, 0)], caught_up: Vec::new() });
    }
}
