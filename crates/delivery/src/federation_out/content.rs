//! The log's content for other servers, and the servers that get it.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_rooms::Servers;

use crate::outbox::{Content, Recipients};

/// The content of an entry of the log.
#[derive(Clone)]
pub(super) enum LogContent {
    Pdu(Pdu),
    /// EDUs, each with `edu_type` and `content`.
    Edus(Arc<[String]>),
}

/// The servers that get an entry of the log.
pub(super) enum LogRecipients {
    Room {
        servers: Servers,
        /// The server that has it already.
        except: Option<String>,
        /// Servers that are not in the room.
        also: Vec<String>,
    },
    Servers(Arc<BTreeSet<String>>),
}

impl LogContent {
    /// Returns how many events of a transaction it takes.
    pub(super) fn pdus(&self) -> usize {
        usize::from(matches!(self, Self::Pdu(_)))
    }

    /// Returns how many EDUs of a transaction it takes.
    pub(super) fn edus(&self) -> usize {
        match self {
            Self::Pdu(_) => 0,
            Self::Edus(edus) => edus.len(),
        }
    }
}

impl Content for LogContent {
    fn bytes(&self) -> usize {
        match self {
            Self::Pdu(pdu) => pdu.json().len(),
            Self::Edus(edus) => edus.iter().map(String::len).sum(),
        }
    }
}

impl Recipients<ServerName> for LogRecipients {
    fn contains(&self, server: &ServerName) -> bool {
        let server = server.as_str();
        match self {
            Self::Room { servers, except, also } => {
                also.iter().any(|other| other == server)
                    || (except.as_deref() != Some(server) && servers.contains(server))
            }
            Self::Servers(servers) => servers.contains(server),
        }
    }

    fn keys(&self) -> Vec<ServerName> {
        match self {
            Self::Room { servers, except, also } => {
                let in_room = servers.names().filter(|server| except.as_deref() != Some(*server));
                let names = also.iter().map(String::as_str).chain(in_room);
                names.filter_map(|name| ServerName::try_from(name).ok()).collect()
            }
            Self::Servers(servers) => {
                servers.iter().filter_map(|name| ServerName::try_from(name.as_str()).ok()).collect()
            }
        }
    }
}
