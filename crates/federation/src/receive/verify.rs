//! Checks signatures and hashes.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;

use plexus_base::Random;
use plexus_net::federation::WantedKey;
use plexus_protocol::event::sign::{self, KnownKey};
use plexus_protocol::event::{Pdu, PduError, redact};
use plexus_protocol::id::EventId;
use plexus_protocol::rules::{EventIdFormat, RoomVersion};
use plexus_rooms::model::room::Room;
use plexus_rooms::model::{auth_index, event_lookup};
use plexus_store::{Database, DbError};

use super::ReceiveError;
use super::panics::{check_each, parse};
use super::spool::Stored;
use crate::peers::{Peers, RawPdu};

/// From how many events on the work is spread over all cores, and off the async threads.
const MIN_SPREAD: usize = 64;

/// Checks the signatures and hashes of received events
/// (<https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events>).
#[derive(Clone)]
pub(crate) struct PduVerifier {
    pub peers: Arc<dyn Peers>,
    pub random: Random,
    pub db: Database,
}

impl PduVerifier {
    /// Checks that all required servers have signed, and the content hash. An event whose hash does not match is
    /// returned redacted. Returns a result for each event, in order.
    pub(crate) async fn verify(&self, pdus: Vec<Pdu>) -> Vec<Result<Pdu, ReceiveError>> {
        let keys = Arc::new(self.peers.keys(keys_of(&pdus)).await);
        let part = |pdus| Part { pdus, keys: Arc::clone(&keys), entropy: self.random.bytes::<32>() };
        if pdus.len() < MIN_SPREAD {
            return part(pdus).check();
        }
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = pdus.len().div_ceil(cores);
        let mut parts = Vec::new();
        let mut pdus = pdus.into_iter().peekable();
        while pdus.peek().is_some() {
            let part = part(pdus.by_ref().take(share).collect());
            parts.push((part.pdus.len(), tokio::task::spawn_blocking(move || part.check())));
        }
        let mut checked = Vec::new();
        for (count, results) in parts {
            match results.await {
                Ok(results) => checked.extend(results),
                // The runtime is being shut down.
                Err(_) => checked.extend((0..count).map(|_| Err(ReceiveError::Panicked))),
            }
        }
        checked
    }

    /// Parses and verifies events of a room. Events that fail are left out.
    pub(crate) async fn parse_and_verify(&self, room: &Room, raw: Vec<RawPdu>) -> Vec<Pdu> {
        let pdus = parsed(room, raw).await;
        self.valid(room, pdus).await
    }

    /// Like [`Self::parse_and_verify`], without verifying stored events again; returns each with its place if it is
    /// stored. Where ids are not hashes (room versions 1 and 2), a stored event replaces a received one with its id.
    pub(crate) async fn parse_and_verify_new(
        &self,
        room: &Room,
        raw: Vec<RawPdu>,
    ) -> Result<Vec<(Pdu, Option<Stored>)>, DbError> {
        let mut pdus = parsed(room, raw).await;
        let ids: Vec<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
        let known = event_lookup::known(&self.db, &ids).await?;
        if room.version.rules().event_id_format == EventIdFormat::Server {
            let known: Vec<EventId> = known.keys().cloned().collect();
            let stored = auth_index::auth_events(&self.db, (room.nid, room.version), &known).await?;
            for pdu in &mut pdus {
                if let Some(event) = stored.get(pdu.event_id()) {
                    *pdu = event.pdu.clone();
                }
            }
        }
        let stored = |pdu: &Pdu| known.get(pdu.event_id()).filter(|known| known.room_nid == room.nid);
        let (old, new): (Vec<Pdu>, Vec<Pdu>) = pdus.into_iter().partition(|pdu| stored(pdu).is_some());
        let new = self.valid(room, new).await;
        let with_place = |pdu: Pdu| {
            let stored = stored(&pdu).map(|known| (known.event_nid, known.verdict));
            (pdu, stored)
        };
        Ok(old.into_iter().chain(new).map(with_place).collect())
    }

    /// Adds the valid signatures of `server` on a copy of an event to the event. Nothing else of the copy is used.
    /// Returns `None` if the copy has none.
    ///
    /// # Errors
    /// When the event has no room for them.
    pub(crate) async fn with_valid_signatures(
        &self,
        pdu: &Pdu,
        copy: &Pdu,
        server: &str,
    ) -> Result<Option<Pdu>, PduError> {
        let of = |key_id| WantedKey { server: server.to_owned(), key_id, at_ms: valid_at(pdu) };
        let keys = self.peers.keys(sign::key_ids_of(copy, server).into_iter().map(of).collect()).await;
        let found = |server: &str, key_id: &str| keys.get(&(server.to_owned(), key_id.to_owned())).copied();
        sign::with_valid_signatures_of(pdu, copy, server, &found)
    }

    /// Returns the events that pass [`Self::verify`].
    async fn valid(&self, room: &Room, pdus: Vec<Pdu>) -> Vec<Pdu> {
        let ids: Vec<_> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
        let mut valid = Vec::with_capacity(pdus.len());
        for (id, result) in ids.into_iter().zip(self.verify(pdus).await) {
            match result {
                Ok(pdu) => valid.push(pdu),
                Err(error) => {
                    tracing::info!(event = %id, room = %room.id, "an event of another server is dropped: {error}");
                }
            }
        }
        valid
    }
}

/// Events whose signatures are checked together.
struct Part {
    pdus: Vec<Pdu>,
    keys: Arc<HashMap<(String, String), KnownKey>>,
    entropy: [u8; 32],
}

impl Part {
    /// Returns a result for each event, in order.
    fn check(&self) -> Vec<Result<Pdu, ReceiveError>> {
        check_each(&self.pdus, |pdus| {
            let found = |server: &str, key_id: &str| self.keys.get(&(server.to_owned(), key_id.to_owned())).copied();
            let results = sign::verify_all(pdus, &found, self.entropy);
            pdus.iter().zip(results).map(|(pdu, result)| result.map(|()| redacted_if_altered(pdu))).collect()
        })
    }
}

/// Parses events. Malformed events and events of other rooms are left out.
async fn parsed(room: &Room, raw: Vec<RawPdu>) -> Vec<Pdu> {
    let version = room.version;
    let mut pdus = if raw.len() < MIN_SPREAD {
        parse_all(&raw, version)
    } else {
        // It fails only when the runtime is being shut down.
        tokio::task::spawn_blocking(move || parse_all(&raw, version)).await.unwrap_or_default()
    };
    pdus.retain(|pdu| pdu.room_id() == &room.id);
    pdus
}

/// Parses events, each once. Malformed events are left out.
fn parse_all(raw: &[RawPdu], version: RoomVersion) -> Vec<Pdu> {
    let mut seen = HashSet::new();
    let mut pdus = Vec::with_capacity(raw.len());
    for raw in raw {
        match parse(raw, version) {
            Ok(pdu) => {
                if seen.insert(pdu.event_id().clone()) {
                    pdus.push(pdu);
                }
            }
            Err(error) => tracing::info!("an event of another server is dropped: {error}"),
        }
    }
    pdus
}

/// Returns the keys with which the events must be signed.
fn keys_of(pdus: &[Pdu]) -> Vec<WantedKey> {
    let mut wanted = HashSet::new();
    for pdu in pdus {
        let at_ms = valid_at(pdu);
        for (server, ids) in sign::required_keys(pdu) {
            wanted.extend(ids.into_iter().map(|key_id| WantedKey { server: server.clone(), key_id, at_ms }));
        }
    }
    wanted.into_iter().collect()
}

/// Returns the time (Unix ms) at which the keys that signed the event must have been valid; 0 in room versions that do
/// not require it.
fn valid_at(pdu: &Pdu) -> u64 {
    if pdu.rules().enforce_key_validity { pdu.origin_server_ts() } else { 0 }
}

/// Returns the event, redacted if its content hash does not match.
fn redacted_if_altered(pdu: &Pdu) -> Pdu {
    if pdu.content_hash_matches() { pdu.clone() } else { redact::redact(pdu) }
}
