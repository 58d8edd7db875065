//! EDUs that a server can do without: typing, receipts, presence. The latest of each wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::json::{Members, push_array};

/// One of them.
#[derive(Debug, Clone)]
pub(super) enum Ephemeral {
    Typing {
        key: Arc<str>,
        content: Arc<str>,
    },
    Receipt(Arc<OutgoingReceipt>),
    /// One element of `push`.
    Presence {
        user: Arc<str>,
        content: Arc<str>,
    },
}

/// A receipt on its way.
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
    /// Of those with equal keys only the last is told.
    pub fn key(&self) -> (u8, &str, &str, &str) {
        match self {
            Self::Typing { key, .. } => (0, key, "", ""),
            Self::Receipt(receipt) => (1, &receipt.room, &receipt.user, &receipt.thread),
            Self::Presence { user, .. } => (2, user, "", ""),
        }
    }
}

/// Room to user to receipt: what fits into one EDU.
type Receipts = BTreeMap<String, BTreeMap<String, Arc<OutgoingReceipt>>>;

/// The EDUs that tell these, `limit` at most; and what did not fit.
pub(super) fn edus(pending: Vec<Ephemeral>, limit: usize) -> (Vec<String>, Vec<Ephemeral>) {
    let (mut typing, mut presence, mut unsent) = (Vec::new(), Vec::new(), Vec::new());
    let mut receipts: Vec<Receipts> = Vec::new();
    for pending in pending {
        let full = typing.len() + receipts.len() + usize::from(!presence.is_empty()) >= limit;
        match &pending {
            Ephemeral::Typing { content, .. } if !full => typing.push(edu("m.typing", content)),
            Ephemeral::Presence { content, .. } if !full || !presence.is_empty() => presence.push(Arc::clone(content)),
            Ephemeral::Receipt(receipt) => {
                // An EDU has room for one receipt of each user and room; threads take more.
                let free = |group: &&mut Receipts| {
                    group.get(&receipt.room).is_none_or(|users| !users.contains_key(&receipt.user))
                };
                if let Some(group) = receipts.iter_mut().find(free) {
                    group.entry(receipt.room.clone()).or_default().insert(receipt.user.clone(), Arc::clone(receipt));
                } else if full {
                    unsent.push(pending);
                } else {
                    let users = BTreeMap::from([(receipt.user.clone(), Arc::clone(receipt))]);
                    receipts.push(BTreeMap::from([(receipt.room.clone(), users)]));
                }
            }
            Ephemeral::Typing { .. } | Ephemeral::Presence { .. } => unsent.push(pending),
        }
    }
    let mut edus = typing;
    if !presence.is_empty() {
        let mut content = String::from("{\"push\":");
        push_array(&mut content, presence.iter().map(|one| &**one));
        content.push('}');
        edus.push(edu("m.presence", &content));
    }
    edus.extend(receipts.iter().map(|group| edu("m.receipt", &receipts_content(group))));
    (edus, unsent)
}

fn receipts_content(rooms: &Receipts) -> String {
    let mut content = String::new();
    let mut by_room = Members::open(&mut content);
    for (room, users) in rooms {
        let mut by_type = Members::open(by_room.key(room));
        let mut by_user = Members::open(by_type.key("m.read"));
        for (user, receipt) in users {
            let mut told = Members::open(by_user.key(user));
            let mut data = Members::open(told.key("data"));
            if !receipt.thread.is_empty() {
                data.text("thread_id", &receipt.thread);
            }
            data.number("ts", receipt.ts);
            data.close();
            let events = told.key("event_ids");
            events.push('[');
            crate::json::push_str(events, &receipt.event);
            events.push(']');
            told.close();
        }
        by_user.close();
        by_type.close();
    }
    by_room.close();
    content
}

/// `{"content":…,"edu_type":…}`
pub(super) fn edu(edu_type: &str, content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 48);
    let mut members = Members::open(&mut out);
    members.raw("content", content);
    members.text("edu_type", edu_type);
    members.close();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(user: &str, thread: &str) -> Ephemeral {
        let (room, event) = ("!r:x".to_owned(), "$e".to_owned());
        Ephemeral::Receipt(Arc::new(OutgoingReceipt { room, user: user.into(), event, thread: thread.into(), ts: 7 }))
    }

    #[test]
    fn receipts_of_a_room_share_an_edu_as_far_as_they_can() {
        let (edus, unsent) = edus(vec![receipt("@a:x", ""), receipt("@b:x", ""), receipt("@a:x", "main")], 100);
        assert!(unsent.is_empty());
        let edus: Vec<serde_json::Value> = edus.iter().map(|edu| serde_json::from_str(edu).unwrap()).collect();
        let read = |edu: usize| edus[edu]["content"]["!r:x"]["m.read"].as_object().unwrap().len();
        assert_eq!((edus.len(), read(0), read(1)), (2, 2, 1));
        assert_eq!(edus[1]["content"]["!r:x"]["m.read"]["@a:x"]["data"]["thread_id"], "main");
        assert_eq!(edus[1]["content"]["!r:x"]["m.read"]["@a:x"]["event_ids"], serde_json::json!(["$e"]));
    }

    #[test]
    fn what_does_not_fit_comes_later() {
        let typing = |at: usize| Ephemeral::Typing { key: at.to_string().into(), content: "{}".into() };
        let (told, unsent) = edus((0..150).map(typing).collect(), 100);
        assert_eq!(told.len() + unsent.len(), 150);
        assert!(told.len() <= 100);
        assert_eq!(edus(unsent, 100).1.len(), 0);
    }
}
