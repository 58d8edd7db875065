//! Finds the piece of a transaction that a server refuses, and limits how many may be set aside.
//!
//! A server accepts or refuses a whole transaction, and one piece that it cannot read would block all others for ever.
//! So the next transaction has half as many pieces, until the refused one is alone. It is set aside, unless the server
//! seems to refuse everything: then everything waits, because messages to devices hold keys that exist nowhere else. A
//! message to devices that is set aside is deleted.
//!
//! Some servers and proxies respond to what they cannot read with 403, 422, 500 or an HTML page, which may as well mean
//! that they accept nothing at all for now. After several such responses in a row the refused piece is looked for too,
//! but it is set aside only once the server has accepted one that comes after it and that it has to store. Until then
//! messages to devices are held back alone, and hold up no events.

use std::collections::HashMap;

use plexus_net::FederationError;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::ServerName;
use plexus_store::Position;

/// The most pieces of one kind that are set aside for a server before it has accepted one of that kind, within
/// [`WINDOW_MS`]. A malicious user can send many pieces that a server refuses; a server that refuses everything must
/// not lose more than these.
const MAX_IN_A_ROW: u32 = 100;
/// As [`MAX_IN_A_ROW`], for messages to devices: most are keys, and without them what was encrypted cannot be read.
const MAX_TO_DEVICE_IN_A_ROW: u32 = 10;
const WINDOW_MS: u64 = 3_600_000;
/// How many transactions in a row a server must answer with the same unclear status before the piece that may be to
/// blame is looked for: a server in trouble mostly recovers earlier.
const MIN_UNCLEAR_REFUSALS: u32 = 3;
/// The most pieces in a row that are tried one by one after such a status, to find one that the server accepts.
pub(super) const MAX_TRIED_ALONE: usize = 20;
/// The most servers whose unclear statuses are counted; beyond, all are forgotten.
const MAX_UNCLEAR_SERVERS: usize = 10_000;
/// The longest reason that is logged, in characters: the other server chose it.
const MAX_REASON_CHARS: usize = 300;

/// A part of a transaction that can be sent or set aside by itself.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// A queued `m.direct_to_device` EDU.
    ToDevice {
        position: Position,
        bytes: usize,
    },
    Pdu(Pdu),
    /// The EDUs of one change of a device or of cross-signing keys.
    Devices {
        position: Position,
        bytes: usize,
    },
    /// Typing, a receipt, or the presence of a user.
    Ephemeral {
        edu_type: &'static str,
        bytes: usize,
    },
}

/// The kinds of pieces: a server may accept one kind and refuse another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    ToDevice,
    Pdu,
    Devices,
    Ephemeral,
}

impl Kind {
    fn max_in_a_row(self) -> u32 {
        match self {
            Self::ToDevice => MAX_TO_DEVICE_IN_A_ROW,
            Self::Pdu | Self::Devices | Self::Ephemeral => MAX_IN_A_ROW,
        }
    }

    /// Whether a server that accepts a piece of kind `accepted` would accept any of this kind that it can read. It need
    /// not store what is ephemeral. A server that misses a change of devices asks for the list at the next one; events
    /// and messages to devices would be lost, so only their own kind proves it.
    pub(super) fn is_proven_by(self, accepted: Self) -> bool {
        accepted == self || (self == Self::Devices && accepted == Self::Pdu)
    }
}

impl Piece {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::ToDevice { .. } => Kind::ToDevice,
            Self::Pdu(_) => Kind::Pdu,
            Self::Devices { .. } => Kind::Devices,
            Self::Ephemeral { .. } => Kind::Ephemeral,
        }
    }

    /// Logs that this piece is not delivered to a server.
    pub(super) fn log_set_aside(&self, server: &ServerName, reason: &dyn std::fmt::Display) {
        let (kind, id, bytes) = match self {
            Self::ToDevice { position, bytes } => ("m.direct_to_device", position.to_string(), *bytes),
            Self::Pdu(pdu) => ("event", pdu.event_id().to_string(), pdu.json().len()),
            Self::Devices { position, bytes } => ("device list update", position.to_string(), *bytes),
            Self::Ephemeral { edu_type, bytes } => (*edu_type, "-".to_owned(), *bytes),
        };
        let reason: String = reason.to_string().chars().take(MAX_REASON_CHARS).collect();
        let fate = match self.kind() {
            Kind::ToDevice => "deleted",
            Kind::Pdu | Kind::Devices | Kind::Ephemeral => "set aside",
        };
        tracing::warn!("{kind} {id} of {bytes} bytes cannot be delivered to {server} and is {fate}: {reason}");
    }
}

/// How an error may be caused by the content of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server cannot read it, or it cannot be sent as it is: the specification has 400 and 413 for that, and
    /// Synapse responds with 401 when the signature does not match the body as its JSON parser read it.
    Clear,
    /// The server, or a proxy in front of it, responded with this status, or with something else than JSON. With 403 a
    /// misconfigured firewall responds to every transaction that is not empty, with 500 a server whose disk is full.
    Unclear(u16),
}

impl Refusal {
    /// Returns `None` for an error that says nothing about the content: the server is down, or asks to be left alone.
    pub(super) fn of(error: &FederationError) -> Option<Self> {
        match error {
            FederationError::MalformedRequest(_) => Some(Self::Clear),
            FederationError::MalformedResponse { .. } => Some(Self::Unclear(200)),
            FederationError::Status { status, .. } => match status.as_u16() {
                400 | 401 | 413 => Some(Self::Clear),
                408 | 425 | 429 => None,
                status @ 402..=500 => Some(Self::Unclear(status)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Returns the most pieces of the next transaction after one with `pieces` was refused; `None` if it had only one.
pub(super) fn narrowed(pieces: usize) -> Option<usize> {
    (pieces > 1).then_some(pieces / 2)
}

/// Returns the most pieces of the next transaction after one with this limit was accepted; `None` for no limit, once it
/// would be `max` or more.
pub(super) fn widened(limit: usize, max: usize) -> Option<usize> {
    limit.checked_mul(2).filter(|limit| *limit < max)
}

/// The refusals of servers.
#[derive(Default)]
pub(super) struct Refusals {
    /// Pieces that were set aside, for [`WINDOW_MS`] after the first.
    set_aside: HashMap<(ServerName, Kind), InARow>,
    /// The last unclear status of each server, and how many times in a row it responded with that.
    unclear: HashMap<ServerName, (u16, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct InARow {
    count: u32,
    /// When the first was set aside, Unix ms.
    since: u64,
}

impl Refusals {
    /// Whether one more piece may be set aside for a server.
    pub(super) fn may_set_aside(&self, server: &ServerName, kind: Kind, now_ms: u64) -> bool {
        let row = self.set_aside.get(&(server.clone(), kind));
        row.is_none_or(|row| row.count < kind.max_in_a_row() || row.is_over(now_ms))
    }

    /// A piece was set aside.
    pub(super) fn set_aside(&mut self, server: &ServerName, kind: Kind, now_ms: u64) {
        self.set_aside.retain(|_, row| !row.is_over(now_ms));
        self.set_aside.entry((server.clone(), kind)).or_insert(InARow { count: 0, since: now_ms }).count += 1;
    }

    /// Notes an unclear refusal of a server. Returns whether there were enough of them in a row to look for the piece
    /// that is to blame.
    pub(super) fn note_unclear(&mut self, server: &ServerName, status: u16) -> bool {
        if self.unclear.len() >= MAX_UNCLEAR_SERVERS {
            self.unclear.clear();
        }
        let (last, count) = self.unclear.entry(server.clone()).or_insert((status, 0));
        *count = if *last == status { count.saturating_add(1) } else { 1 };
        *last = status;
        *count >= MIN_UNCLEAR_REFUSALS
    }

    /// A server accepted a transaction of full size, or failed for another reason.
    pub(super) fn forget_unclear(&mut self, server: &ServerName) {
        self.unclear.remove(server);
    }

    /// A server accepted pieces.
    pub(super) fn accepted(&mut self, server: &ServerName, pieces: &[Piece]) {
        if self.set_aside.is_empty() {
            return;
        }
        for piece in pieces {
            self.set_aside.remove(&(server.clone(), piece.kind()));
        }
    }
}

impl InARow {
    fn is_over(self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.since) >= WINDOW_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `pieces`, of which the server refuses some, as deliveries do; returns which arrived, which were set aside,
    /// and how many transactions that took.
    fn deliver(pieces: &[bool], most: usize) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut arrived, mut set_aside, mut transactions) = (Vec::new(), Vec::new(), 0);
        let (mut next, mut limit) = (0, None);
        while next < pieces.len() {
            let end = pieces.len().min(next + limit.unwrap_or(most).min(most));
            transactions += 1;
            if pieces[next..end].iter().all(|good| *good) {
                arrived.extend(next..end);
                next = end;
                limit = limit.and_then(|limit| widened(limit, most));
            } else if let Some(half) = narrowed(end - next) {
                limit = Some(half);
            } else {
                set_aside.push(next);
                next = end;
            }
        }
        (arrived, set_aside, transactions)
    }

    #[test]
    fn only_the_piece_that_is_refused_is_set_aside() {
        for bad in 0..200 {
            let pieces: Vec<bool> = (0..200).map(|piece| piece != bad).collect();
            let (arrived, set_aside, transactions) = deliver(&pieces, 50);
            assert_eq!(arrived, (0..200).filter(|piece| *piece != bad).collect::<Vec<_>>());
            assert_eq!(set_aside, [bad]);
            assert!(transactions < 40, "{bad}: {transactions}");
        }
    }

    #[test]
    fn any_number_of_them_is_found() {
        for every in [1, 2, 3, 7, 50] {
            let pieces: Vec<bool> = (0..300).map(|piece| piece % every != 0).collect();
            let (arrived, set_aside, _) = deliver(&pieces, 50);
            assert_eq!(arrived, (0..300).filter(|piece| piece % every != 0).collect::<Vec<_>>());
            assert_eq!(set_aside, (0..300).filter(|piece| piece % every == 0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_pieces_that_are_set_aside_for_a_server_are_bounded() {
        let (a, b): (ServerName, ServerName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut refusals = Refusals::default();
        for _ in 0..MAX_TO_DEVICE_IN_A_ROW {
            assert!(refusals.may_set_aside(&a, Kind::ToDevice, 5));
            refusals.set_aside(&a, Kind::ToDevice, 5);
        }
        assert!(!refusals.may_set_aside(&a, Kind::ToDevice, 5));
        assert!(refusals.may_set_aside(&b, Kind::ToDevice, 5));
        for _ in 0..MAX_IN_A_ROW {
            assert!(refusals.may_set_aside(&a, Kind::Pdu, 5));
            refusals.set_aside(&a, Kind::Pdu, 5);
        }
        assert!(!refusals.may_set_aside(&a, Kind::Pdu, 5));
        // It takes others of the kind: it reads them.
        refusals.accepted(&a, &[Piece::Ephemeral { edu_type: "m.typing", bytes: 1 }]);
        assert!(!refusals.may_set_aside(&a, Kind::ToDevice, 5));
        refusals.accepted(&a, &[Piece::ToDevice { position: 1, bytes: 1 }]);
        assert!(refusals.may_set_aside(&a, Kind::ToDevice, 5));
        for _ in 0..MAX_TO_DEVICE_IN_A_ROW {
            refusals.set_aside(&a, Kind::ToDevice, 5);
        }
        assert!(!refusals.may_set_aside(&a, Kind::ToDevice, 4 + WINDOW_MS));
        assert!(refusals.may_set_aside(&a, Kind::ToDevice, 5 + WINDOW_MS));
        refusals.set_aside(&b, Kind::Pdu, 5 + WINDOW_MS);
        assert_eq!(refusals.set_aside.len(), 1);
    }

    #[test]
    fn several_equal_unclear_refusals_in_a_row_count() {
        let server: ServerName = "a".parse().unwrap();
        let mut refusals = Refusals::default();
        let mut notes = |status: u16| refusals.note_unclear(&server, status);
        let noted = [403, 403, 500, 403, 403, 403, 403].map(&mut notes);
        assert_eq!(noted, [false, false, false, false, false, true, true]);
        refusals.forget_unclear(&server);
        assert!(!refusals.note_unclear(&server, 403));
    }
}
