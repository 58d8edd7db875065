//! Finds the piece of a transaction that a server refuses, and limits how many may be set aside.
//!
//! A server accepts or refuses a whole transaction, and one piece that it cannot read would block all others for ever.
//! So the next transaction has half as many pieces, until the refused one is alone. It is set aside, unless the server
//! seems to refuse everything: then everything waits, because messages to devices hold keys that exist nowhere else. A
//! message to devices that is set aside is deleted.

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

/// Whether an error may mean that the server cannot read the transaction, or that it cannot be sent as it is: the
/// specification has 400 and 413 for that, and Synapse responds with 401 when the signature does not match the body as
/// its JSON parser read it. Not 403: with that a misconfigured firewall responds to every transaction that is not
/// empty.
pub(super) fn is_about_content(error: &FederationError) -> bool {
    match error {
        FederationError::MalformedRequest(_) => true,
        FederationError::Status { status, .. } => matches!(status.as_u16(), 400 | 401 | 413),
        _ => false,
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

/// The refusals of servers, for [`WINDOW_MS`] after the first.
#[derive(Default)]
pub(super) struct Refusals(HashMap<(ServerName, Kind), InARow>);

#[derive(Debug, Clone, Copy)]
struct InARow {
    count: u32,
    /// When the first was set aside, Unix ms.
    since: u64,
}

impl Refusals {
    /// Whether one more piece may be set aside for a server.
    pub(super) fn may_set_aside(&self, server: &ServerName, kind: Kind, now_ms: u64) -> bool {
        let row = self.0.get(&(server.clone(), kind));
        row.is_none_or(|row| row.count < kind.max_in_a_row() || row.is_over(now_ms))
    }

    /// A piece was set aside.
    pub(super) fn set_aside(&mut self, server: &ServerName, kind: Kind, now_ms: u64) {
        self.0.retain(|_, row| !row.is_over(now_ms));
        self.0.entry((server.clone(), kind)).or_insert(InARow { count: 0, since: now_ms }).count += 1;
    }

    /// A server accepted pieces.
    pub(super) fn accepted(&mut self, server: &ServerName, pieces: &[Piece]) {
        if self.0.is_empty() {
            return;
        }
        for piece in pieces {
            self.0.remove(&(server.clone(), piece.kind()));
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
        assert_eq!(refusals.0.len(), 1);
    }
}
