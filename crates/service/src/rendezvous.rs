//! Rendezvous sessions, by which a new device and one that is logged in exchange messages (MSC4108, MSC4388). Whoever
//! knows a session's id reads and replaces its one payload; the devices encrypt it.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use plexus_base::{Clock, Random};

/// The largest payload, in bytes (MSC4388, "Maximum payload size").
const MAX_PAYLOAD_BYTES: usize = 4_096;
/// How long a session lasts, in ms: the longest that MSC4388 recommends.
const SESSION_LIFETIME_MS: u64 = 300_000;
/// The most sessions at once, which may take some 25 MB. A further one ends the oldest.
const MAX_SESSIONS: usize = 1_000;
/// The most writes of a session whose responses are remembered; a login takes about ten. There are no further writes
/// with a transaction id: others leave nothing behind.
const MAX_TRANSACTIONS: usize = 64;
/// The longest transaction id, in bytes (opaque identifiers).
const MAX_TRANSACTION_ID_BYTES: usize = 255;
/// The length of an id, in letters and digits: 190 bits.
const ID_LEN: usize = 32;

/// A session as a client sees it.
#[derive(Debug, Clone)]
pub struct RendezvousSession {
    /// The session's id.
    pub id: String,
    /// The payload.
    pub data: String,
    /// Counts the payloads.
    pub revision: u64,
    /// When the payload was written, Unix ms.
    pub modified_ts: u64,
    /// When the session ends, Unix ms.
    pub expires_ts: u64,
}

/// Why a payload is not stored.
#[derive(Debug, thiserror::Error)]
pub enum RendezvousError {
    /// 404 `M_NOT_FOUND`
    #[error("The rendezvous session does not exist or has expired")]
    NotFound,
    /// 413 `M_TOO_LARGE`
    #[error("The data is larger than {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    /// 400 `M_INVALID_PARAM`
    #[error("The transaction id is longer than {MAX_TRANSACTION_ID_BYTES} bytes")]
    TransactionId,
    /// 429 `M_LIMIT_EXCEEDED`, until the session ends.
    #[error("The session has had too many writes")]
    TooManyWrites {
        /// How long the session lasts.
        expires_in_ms: u64,
    },
    /// The payload is not the one that the client has seen: this is.
    #[error("The data was changed by somebody else")]
    Conflict(Box<RendezvousSession>),
}

/// A new payload.
#[derive(Debug)]
pub struct NewPayload {
    /// The payload.
    pub data: String,
    /// The revision that it replaces; `None` names no revision that there could be.
    pub replaces: Option<u64>,
    /// The client's transaction: a second request with the same one gets the first one's response.
    pub txn_id: Option<String>,
}

/// The sessions of this server. Owned by this process, as they last for minutes and devices begin again: of several
/// processes the owner of a session's id would have to be asked. A restart ends all.
pub struct RendezvousSessions {
    clock: Clock,
    random: Random,
    stored: Mutex<Stored>,
}

#[derive(Default)]
struct Stored {
    by_id: HashMap<String, Session>,
    /// The ids with the ends of their sessions, oldest first; also of sessions that were deleted.
    by_age: VecDeque<(u64, String)>,
}

struct Session {
    data: String,
    revision: u64,
    modified_ts: u64,
    expires_ts: u64,
    /// By transaction id: the revision that was written, or `None` if there was a conflict.
    transactions: HashMap<String, Option<u64>>,
}

impl RendezvousSessions {
    /// Creates the service.
    #[must_use]
    pub fn new(clock: Clock, random: Random) -> Self {
        Self { clock, random, stored: Mutex::default() }
    }

    /// Creates a session with its first payload.
    ///
    /// # Errors
    /// [`RendezvousError::TooLarge`].
    pub fn create(&self, data: String) -> Result<RendezvousSession, RendezvousError> {
        require_fitting(&data)?;
        let now = self.clock.now_ms();
        let expires_ts = now + SESSION_LIFETIME_MS;
        let session = Session { data, revision: 1, modified_ts: now, expires_ts, transactions: HashMap::new() };
        let id = self.random.alphanumeric(ID_LEN);
        let view = session.view(&id);
        let mut stored = self.stored.lock();
        stored.end_old(now, MAX_SESSIONS - 1);
        stored.by_age.push_back((expires_ts, id.clone()));
        stored.by_id.insert(id, session);
        Ok(view)
    }

    /// Returns a session.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<RendezvousSession> {
        let mut stored = self.stored.lock();
        stored.end_old(self.clock.now_ms(), MAX_SESSIONS);
        stored.by_id.get(id).map(|session| session.view(id))
    }

    /// Replaces the payload of a session. Returns the new revision.
    ///
    /// # Errors
    /// See [`RendezvousError`].
    pub fn replace(&self, id: &str, new: NewPayload) -> Result<RendezvousSession, RendezvousError> {
        let now = self.clock.now_ms();
        let mut stored = self.stored.lock();
        stored.end_old(now, MAX_SESSIONS);
        let session = stored.by_id.get_mut(id).ok_or(RendezvousError::NotFound)?;
        let conflict = |session: &Session| RendezvousError::Conflict(Box::new(session.view(id)));
        if let Some(txn_id) = &new.txn_id {
            match session.transactions.get(txn_id) {
                Some(Some(revision)) => return Ok(RendezvousSession { revision: *revision, ..session.view(id) }),
                Some(None) => return Err(conflict(session)),
                None if txn_id.len() > MAX_TRANSACTION_ID_BYTES => return Err(RendezvousError::TransactionId),
                None if session.transactions.len() == MAX_TRANSACTIONS => {
                    return Err(RendezvousError::TooManyWrites { expires_in_ms: session.expires_ts - now });
                }
                None => {}
            }
        }
        require_fitting(&new.data)?;
        let matches = new.replaces == Some(session.revision);
        if matches {
            session.data = new.data;
            session.revision += 1;
            session.modified_ts = now;
        }
        if let Some(txn_id) = new.txn_id {
            session.transactions.insert(txn_id, matches.then_some(session.revision));
        }
        if matches { Ok(session.view(id)) } else { Err(conflict(session)) }
    }

    /// Ends a session. Returns false if there is none.
    pub fn delete(&self, id: &str) -> bool {
        let mut stored = self.stored.lock();
        stored.end_old(self.clock.now_ms(), MAX_SESSIONS);
        stored.by_id.remove(id).is_some()
    }
}

impl Stored {
    /// Ends the sessions that have expired at `now`, and the oldest ones beyond `most`.
    fn end_old(&mut self, now: u64, most: usize) {
        while let Some((expires_ts, id)) = self.by_age.front() {
            if *expires_ts > now && self.by_age.len() <= most {
                break;
            }
            self.by_id.remove(id);
            self.by_age.pop_front();
        }
    }
}

impl Session {
    fn view(&self, id: &str) -> RendezvousSession {
        RendezvousSession {
            id: id.to_owned(),
            data: self.data.clone(),
            revision: self.revision,
            modified_ts: self.modified_ts,
            expires_ts: self.expires_ts,
        }
    }
}

fn require_fitting(data: &str) -> Result<(), RendezvousError> {
    if data.len() <= MAX_PAYLOAD_BYTES { Ok(()) } else { Err(RendezvousError::TooLarge) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_sessions_and_of_their_writes_is_bounded() {
        let sessions = RendezvousSessions::new(Clock::manual(1_000), Random::seeded(1));
        let first = sessions.create("first".to_owned()).unwrap();
        let second = sessions.create("second".to_owned()).unwrap();
        assert!(sessions.delete(&second.id));
        for _ in 0..MAX_SESSIONS - 2 {
            sessions.create(String::new()).unwrap();
        }
        assert!(sessions.get(&first.id).is_some());
        let last = sessions.create("last".to_owned()).unwrap();
        assert!(sessions.get(&first.id).is_none());
        {
            let stored = sessions.stored.lock();
            assert_eq!((stored.by_age.len(), stored.by_id.len()), (MAX_SESSIONS, MAX_SESSIONS - 1));
        }

        let write = |number: usize, replaces: u64| {
            let txn_id = Some(number.to_string());
            sessions.replace(&last.id, NewPayload { data: number.to_string(), replaces: Some(replaces), txn_id })
        };
        for number in 1..=MAX_TRANSACTIONS {
            assert_eq!(write(number, number as u64).unwrap().revision, number as u64 + 1);
        }
        let refused = write(MAX_TRANSACTIONS + 1, MAX_TRANSACTIONS as u64 + 1);
        assert!(matches!(refused, Err(RendezvousError::TooManyWrites { expires_in_ms: SESSION_LIFETIME_MS })));
        assert_eq!(write(3, 99).unwrap().revision, 4, "a transaction is repeated with its first response");
    }
}
