//! The newest of what other servers get, each piece once, with who gets it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_rooms::Servers;
use plexus_store::Position;

/// How many pieces are kept; a server that is further behind is served from the database.
const KEPT: usize = 8_192;
/// About how many bytes of JSON they may hold.
const KEPT_BYTES: usize = 32 * 1024 * 1024;

/// One durable piece of news.
pub(super) struct Item {
    pub position: Position,
    pub what: What,
    pub to: Recipients,
}

#[derive(Clone)]
pub(super) enum What {
    Pdu(Pdu),
    /// EDUs, each with `edu_type` and `content`.
    Edus(Arc<[String]>),
}

/// Who gets it.
pub(super) enum Recipients {
    Room {
        servers: Servers,
        /// Who has it already.
        but: Option<String>,
        /// Servers that are not in the room.
        also: Vec<String>,
    },
    Servers(Arc<BTreeSet<String>>),
}

impl What {
    pub fn pdus(&self) -> usize {
        usize::from(matches!(self, Self::Pdu(_)))
    }

    pub fn edus(&self) -> usize {
        match self {
            Self::Pdu(_) => 0,
            Self::Edus(edus) => edus.len(),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Pdu(pdu) => pdu.json().len(),
            Self::Edus(edus) => edus.iter().map(String::len).sum(),
        }
    }
}

impl Recipients {
    pub fn contains(&self, server: &str) -> bool {
        match self {
            Self::Room { servers, but, also } => {
                also.iter().any(|other| other == server) || (but.as_deref() != Some(server) && servers.contains(server))
            }
            Self::Servers(servers) => servers.contains(server),
        }
    }

    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Room { servers, but, also } => {
                let in_room = servers.names().filter(|server| but.as_deref() != Some(*server));
                also.iter().map(String::as_str).chain(in_room).collect()
            }
            Self::Servers(servers) => servers.iter().map(String::as_str).collect(),
        }
    }
}

/// The newest items.
pub(super) struct Recent {
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    /// Every item after this is here.
    pub after: Position,
}

impl Recent {
    pub fn new(after: Position) -> Self {
        Self { items: VecDeque::new(), bytes: 0, after }
    }

    pub fn push(&mut self, item: Arc<Item>) {
        self.bytes += item.what.bytes();
        self.items.push_back(item);
        while (self.items.len() > KEPT || self.bytes > KEPT_BYTES)
            && let Some(oldest) = self.items.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.what.bytes());
            self.after = oldest.position;
        }
    }

    /// The items after a position that a server gets, oldest first; `None` when some may be missing.
    pub fn due<'r>(&'r self, server: &'r str, after: Position) -> Option<impl Iterator<Item = &'r Arc<Item>>> {
        if after < self.after {
            return None;
        }
        let start = self.items.partition_point(|item| item.position <= after);
        Some(self.items.range(start..).filter(move |item| item.to.contains(server)))
    }
}
