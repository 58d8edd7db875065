//! EDUs that may be lost: typing, receipts, presence, and the devices of users who begin to share a room with a server,
//! which it can query. A newer one replaces an older one about the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::device_updates::DEVICE_LIST_UPDATE;
use plexus_protocol::json::{ObjectWriter, string_len, write_array};
use plexus_sync::to_device::{MAX_EDU_BYTES, edu};

/// The most bytes of a receipt besides its room, user, event and thread.
const RECEIPT_OVERHEAD: usize = 96;

/// A piece of an EDU that may be lost.
#[derive(Debug, Clone)]
pub(super) enum Ephemeral {
    Typing {
        key: Arc<str>,
        content: Arc<str>,
    },
    Receipt(Arc<OutgoingReceipt>),
    /// A device of a user who begins to share a room with the server.
    Device {
        key: Arc<str>,
        content: Arc<str>,
    },
    /// One element of `push`.
    Presence {
        user: Arc<str>,
        content: Arc<str>,
    },
}

/// A receipt to be sent.
#[derive(Debug)]
pub(super) struct OutgoingReceipt {
    pub room: String,
    pub user: String,
    pub event: String,
    pub thread: String,
    /// Unix ms.
    pub ts: u64,
}

impl Ephemeral {
    /// Of pieces with equal keys only the last is sent.
    pub(super) fn key(&self) -> (u8, &str, &str, &str) {
        match self {
            Self::Typing { key, .. } => (0, key, "", ""),
            Self::Receipt(receipt) => (1, &receipt.room, &receipt.user, &receipt.thread),
            Self::Presence { user, .. } => (2, user, "", ""),
            Self::Device { key, .. } => (3, key, "", ""),
        }
    }

    /// Returns the type of the EDU that carries it.
    pub(super) fn edu_type(&self) -> &'static str {
        match self {
            Self::Typing { .. } => "m.typing",
            Self::Receipt(_) => "m.receipt",
            Self::Presence { .. } => "m.presence",
            Self::Device { .. } => DEVICE_LIST_UPDATE,
        }
    }

    /// Room and user, for the log.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Typing { key, .. } | Self::Device { key, .. } => key.to_string(),
            Self::Receipt(receipt) => format!("{} {}", receipt.room, receipt.user),
            Self::Presence { user, .. } => user.to_string(),
        }
    }

    /// Returns the most bytes of an EDU that it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Typing { content, .. } | Self::Device { content, .. } => content.len(),
            Self::Presence { content, .. } => content.len() + 1,
            Self::Receipt(receipt) => {
                let texts = [&receipt.room, &receipt.user, &receipt.event, &receipt.thread];
                texts.into_iter().map(|text| string_len(text)).sum::<usize>() + RECEIPT_OVERHEAD
            }
        }
    }
}

/// The space that a transaction has for ephemeral EDUs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub edus: usize,
    pub bytes: usize,
}

/// EDUs, with the pieces that they carry.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub edus: Vec<String>,
    pub sent: Vec<Ephemeral>,
    /// Pieces that did not fit.
    pub unsent: Vec<Ephemeral>,
}

/// The most bytes of an EDU besides its pieces: the type, and the names around them.
const EDU_OVERHEAD: usize = 64;

/// The largest piece that fits into an EDU, in bytes.
pub(super) const MAX_PIECE_BYTES: usize = MAX_EDU_BYTES - EDU_OVERHEAD;

/// Pieces that share an EDU.
#[derive(Debug, Default)]
struct Group {
    presence: Vec<Arc<str>>,
    receipts: Receipts,
    bytes: usize,
}

/// Room to user to receipt: an EDU holds one receipt of each user and room; receipts of threads take further EDUs.
type Receipts = BTreeMap<String, BTreeMap<String, Arc<OutgoingReceipt>>>;

impl Group {
    fn takes(&self, piece: &Ephemeral) -> bool {
        let is_free = match piece {
            Ephemeral::Typing { .. } | Ephemeral::Device { .. } => false,
            Ephemeral::Presence { .. } => !self.presence.is_empty(),
            Ephemeral::Receipt(receipt) => {
                let of_room = self.receipts.get(&receipt.room);
                !self.receipts.is_empty() && of_room.is_none_or(|users| !users.contains_key(&receipt.user))
            }
        };
        is_free && self.bytes + piece.bytes() <= MAX_PIECE_BYTES
    }

    fn push(&mut self, piece: &Ephemeral) {
        self.bytes += piece.bytes();
        match piece {
            Ephemeral::Typing { .. } | Ephemeral::Device { .. } => {}
            Ephemeral::Presence { content, .. } => self.presence.push(Arc::clone(content)),
            Ephemeral::Receipt(receipt) => {
                self.receipts
                    .entry(receipt.room.clone())
                    .or_default()
                    .insert(receipt.user.clone(), Arc::clone(receipt));
            }
        }
    }

    fn edu(&self) -> String {
        if self.presence.is_empty() {
            return edu("m.receipt", &receipts_content(&self.receipts));
        }
        let mut content = String::from("{\"push\":");
        write_array(self.presence.iter().map(|one| &**one), &mut content);
        content.push('}');
        edu("m.presence", &content)
    }
}

/// Packs pieces into as few EDUs as possible, none of which is larger than [`MAX_EDU_BYTES`].
pub(super) fn edus(pending: Vec<Ephemeral>, mut space: Space) -> Packed {
    let mut packed = Packed::default();
    let mut groups: Vec<Group> = Vec::new();
    for piece in pending {
        let shared = groups.iter_mut().find(|group| group.takes(&piece));
        let bytes = piece.bytes() + if shared.is_some() { 0 } else { EDU_OVERHEAD };
        if bytes > space.bytes || (shared.is_none() && space.edus == 0) {
            packed.unsent.push(piece);
            continue;
        }
        space.bytes -= bytes;
        match (shared, &piece) {
            (Some(group), piece) => group.push(piece),
            (None, Ephemeral::Typing { content, .. } | Ephemeral::Device { content, .. }) => {
                space.edus -= 1;
                packed.edus.push(edu(piece.edu_type(), content));
            }
            (None, piece) => {
                space.edus -= 1;
                let mut group = Group::default();
                group.push(piece);
                groups.push(group);
            }
        }
        packed.sent.push(piece);
    }
    packed.edus.extend(groups.iter().map(Group::edu));
    packed
}

fn receipts_content(rooms: &Receipts) -> String {
    let mut content = String::new();
    let mut by_room = ObjectWriter::open(&mut content);
    for (room, users) in rooms {
        let mut by_type = ObjectWriter::open(by_room.key(room));
        let mut by_user = ObjectWriter::open(by_type.key("m.read"));
        for (user, receipt) in users {
            let mut members = ObjectWriter::open(by_user.key(user));
            let mut data = ObjectWriter::open(members.key("data"));
            if !receipt.thread.is_empty() {
                data.string("thread_id", &receipt.thread);
            }
            data.number("ts", receipt.ts);
            data.close();
            members.strings("event_ids", [&*receipt.event]);
            members.close();
        }
        by_user.close();
        by_type.close();
    }
    by_room.close();
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(user: &str, thread: &str) -> Ephemeral {
        let (room, event) = ("!r:x".to_owned(), "$e".to_owned());
        Ephemeral::Receipt(Arc::new(OutgoingReceipt { room, user: user.into(), event, thread: thread.into(), ts: 7 }))
    }

    const PLENTY: Space = Space { edus: 100, bytes: 1_000_000 };

    #[test]
    fn receipts_of_a_room_share_an_edu_as_far_as_they_can() {
        let packed = edus(vec![receipt("@a:x", ""), receipt("@b:x", ""), receipt("@a:x", "main")], PLENTY);
        assert!(packed.unsent.is_empty() && packed.sent.len() == 3);
        let edus: Vec<serde_json::Value> = packed.edus.iter().map(|edu| serde_json::from_str(edu).unwrap()).collect();
        let read = |edu: usize| edus[edu]["content"]["!r:x"]["m.read"].as_object().unwrap().len();
        assert_eq!((edus.len(), read(0), read(1)), (2, 2, 1));
        assert_eq!(edus[1]["content"]["!r:x"]["m.read"]["@a:x"]["data"]["thread_id"], "main");
        assert_eq!(edus[1]["content"]["!r:x"]["m.read"]["@a:x"]["event_ids"], serde_json::json!(["$e"]));
    }

    #[test]
    fn pieces_that_do_not_fit_come_later() {
        let typing = |at: usize| Ephemeral::Typing { key: at.to_string().into(), content: "{}".into() };
        let packed = edus((0..150).map(typing).collect(), PLENTY);
        assert_eq!((packed.edus.len(), packed.sent.len(), packed.unsent.len()), (100, 100, 50));
        assert_eq!(edus(packed.unsent, PLENTY).unsent.len(), 0);
        let packed = edus((0..150).map(typing).collect(), Space { edus: 100, bytes: 1_000 });
        assert!(packed.edus.iter().map(String::len).sum::<usize>() <= 1_000);
        assert_eq!(packed.sent.len() + packed.unsent.len(), 150);
    }

    #[test]
    fn no_edu_is_larger_than_it_may_be() {
        let presence = |at: usize| {
            let content = format!("{{\"status_msg\":\"{}\",\"user_id\":\"@{at}:x\"}}", "s".repeat(2_000));
            Ephemeral::Presence { user: at.to_string().into(), content: content.into() }
        };
        let long = |at: usize| receipt(&format!("@{at}{}:x", "\u{1}".repeat(100)), &format!("$\"{}", "t".repeat(200)));
        let pieces: Vec<Ephemeral> = (0..100).flat_map(|at| [presence(at), long(at)]).collect();
        let packed = edus(pieces, PLENTY);
        assert!(packed.unsent.is_empty());
        let sizes: Vec<usize> = packed.edus.iter().map(String::len).collect();
        assert!(sizes.iter().all(|size| *size <= MAX_EDU_BYTES), "{sizes:?}");
        assert!(packed.edus.len() < 8, "{sizes:?}");
        let largest = Ephemeral::Presence { user: "u".into(), content: "s".repeat(MAX_PIECE_BYTES - 1).into() };
        assert!(edus(vec![largest], PLENTY).edus[0].len() <= MAX_EDU_BYTES);
    }
}
