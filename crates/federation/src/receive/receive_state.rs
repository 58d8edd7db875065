//! Receives a room's state from another server: it is checked while it arrives, and stored once all of it is here.

use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::PeerError;
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::state_map::StateEntry;
use plexus_rooms::write::outliers::{self, JudgedOutliers};
use plexus_store::repo::events::Verdict;
use plexus_store::{Database, DbError, EventNid, pdu_json};
use tokio::task::JoinSet;

use super::PduReceiver;
use super::spool::{Spool, Stored};
use crate::peers::{RawPdu, StatePart, StateParts};

/// How many parts of the state are checked while the next one arrives.
const MAX_CHECKS: usize = 2;
/// How many events are judged and written, or looked up, at a time.
const BATCH_SIZE: usize = 1_000;
/// How many events a state may have, with its auth chain and all auth events that these name.
const MAX_EVENTS: usize = 2_000_000;

/// A room's state as another server returned it, stored.
#[derive(Default)]
pub(crate) struct ReceivedState {
    /// The join, if the other server returned it.
    pub join: Option<RawPdu>,
    /// The entries of the state, without rejected events. Their events are not in memory.
    pub state: Vec<Arc<StateEntry>>,
    /// The entries that are needed before the others: see [`is_needed_first`].
    pub first: Vec<EventNid>,
    /// Whether member events are missing from the state.
    pub members_omitted: bool,
    /// The servers in the room, if the other server named them.
    pub servers: Vec<ServerName>,
}

/// Why a state was not received. Events of it may be stored, as outliers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveStateError {
    #[error(transparent)]
    Remote(#[from] PeerError),
    #[error("the state has too many events")]
    TooMany,
    #[error("the state has no create event of the room's version")]
    NoCreate,
    #[error("the events cannot be stored temporarily: {0}")]
    Spool(#[from] std::io::Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads all of a state that another server returns, checks it, and stores its events as outliers. Rejected events are
/// not part of the state.
pub(crate) async fn receive_state(
    receiver: &PduReceiver,
    room: &Arc<Room>,
    parts: &mut dyn StateParts,
) -> Result<ReceivedState, ReceiveStateError> {
    let mut received = ReceivedState::default();
    let mut spool = Spool::new(is_needed_first(room, receiver.rooms.server_name()));
    let mut checking = JoinSet::new();
    let mut has_create = false;
    while let Some(part) = parts.next().await? {
        let (events, of_state) = match part {
            StatePart::Join(event) => {
                received.join = Some(event);
                continue;
            }
            StatePart::MembersOmitted => {
                received.members_omitted = true;
                continue;
            }
            StatePart::Servers(servers) => {
                received.servers = servers;
                continue;
            }
            StatePart::State(events) => (events, true),
            StatePart::AuthChain(events) => (events, false),
        };
        let (verifier, of_room) = (receiver.verifier.clone(), Arc::clone(room));
        checking.spawn(async move { Ok((verifier.parse_and_verify_new(&of_room, events).await?, of_state)) });
        while checking.len() >= MAX_CHECKS {
            let found;
            (spool, found) = keep(spool, &mut checking, room.version).await?;
            has_create |= found;
        }
    }
    while !checking.is_empty() {
        let found;
        (spool, found) = keep(spool, &mut checking, room.version).await?;
        has_create |= found;
    }
    if !has_create {
        return Err(ReceiveStateError::NoCreate);
    }
    let spool = store(receiver, room, spool).await?;
    for (entry, first) in spool.state() {
        received.first.extend(first.then_some(entry.nid));
        received.state.push(Arc::new(entry));
    }
    Ok(received)
}

/// Returns a function that says whether an event of the state is needed before the others: it has an empty state key,
/// is about a user of this server, or replaces an event of the state that is here.
fn is_needed_first(room: &Room, own: &ServerName) -> Box<dyn Fn(&Pdu) -> bool + Send> {
    let (view, own) = (room.view(), own.clone());
    Box::new(move |pdu| {
        let state_key = pdu.state_key().unwrap_or_default();
        let is_own_user = || state_key.split_once(':').is_some_and(|(_, server)| server == own.as_str());
        state_key.is_empty() || is_own_user() || view.state.get(pdu.event_type(), state_key).is_some()
    })
}

/// Stores the checked events. While a batch is written, the next one is read and judged.
async fn store(receiver: &PduReceiver, room: &Arc<Room>, spool: Spool) -> Result<Spool, ReceiveStateError> {
    let ordering = tokio::task::spawn_blocking(move || {
        let order = spool.auth_events_first();
        (spool, order)
    });
    let (mut spool, order) = ordering.await.map_err(std::io::Error::other)?;
    let mut chunks = order.chunks(BATCH_SIZE);
    let mut judged = Arc::new(JudgedOutliers::default());
    loop {
        let next = chunks.next().map(<[u32]>::to_vec);
        let judging = async {
            let Some(numbers) = next else { return Ok((spool, None)) };
            let (spool, pdus) = read(spool, numbers, room.version).await?;
            Ok((spool, Some(outliers::judge(&receiver.db, room, pdus, &judged).await?)))
        };
        let writing = async { Ok(outliers::write_judged(&receiver.writer, room.nid, Arc::clone(&judged)).await?) };
        let (stored, (read, next)) = tokio::try_join!(writing, judging).map_err(|error: ReceiveStateError| error)?;
        spool = read;
        spool.set_stored(judged.event_ids().zip(stored));
        match next {
            Some(next) => judged = Arc::new(next),
            None => return Ok(spool),
        }
    }
}

/// Returns the numbers of the events that can be part of the room's state.
pub(super) async fn usable_state(db: &Database, room: &Room, ids: &[EventId]) -> Result<Vec<EventNid>, DbError> {
    let mut nids = Vec::with_capacity(ids.len());
    for ids in ids.chunks(BATCH_SIZE) {
        let known = event_lookup::known(db, ids).await?;
        let usable = ids
            .iter()
            .filter_map(|id| known.get(id))
            .filter(|known| known.is_state && known.room_nid == room.nid && known.verdict != Verdict::Rejected);
        nids.extend(usable.map(|known| known.event_nid));
    }
    Ok(nids)
}

/// Reads events from the spool, and packs them for the database.
async fn read(
    mut spool: Spool,
    numbers: Vec<u32>,
    version: RoomVersion,
) -> Result<(Spool, Vec<(Pdu, Vec<u8>)>), ReceiveStateError> {
    let reading = tokio::task::spawn_blocking(move || {
        let pdus = spool.read(&numbers, version)?;
        let packed = pdus.into_iter().map(|pdu| {
            let packed = pdu_json::pack(pdu.json())?;
            Ok((pdu, packed))
        });
        let packed = packed.collect::<Result<_, DbError>>()?;
        Ok((spool, packed))
    });
    reading.await.map_err(std::io::Error::other)?
}

/// Events, each with its place if it is stored; and whether they are part of the state, not of its auth chain.
type Checked = Result<(Vec<(Pdu, Option<Stored>)>, bool), DbError>;

/// Adds the next checked events to the spool. Returns whether the room's create event is among them.
async fn keep(
    mut spool: Spool,
    checking: &mut JoinSet<Checked>,
    version: RoomVersion,
) -> Result<(Spool, bool), ReceiveStateError> {
    let Some(checked) = checking.join_next().await else { return Ok((spool, false)) };
    let (events, of_state) = checked.map_err(std::io::Error::other)??;
    let has_version = |create: &Pdu| create.content().get_str("room_version").unwrap_or("1") == version.as_str();
    let has_create = of_state && events.iter().any(|(pdu, _)| pdu.is_state("m.room.create", "") && has_version(pdu));
    // The spool writes to a file.
    let adding = tokio::task::spawn_blocking(move || spool.add(&events, of_state).map(|()| spool));
    let spool = adding.await.map_err(std::io::Error::other)??;
    if spool.len() > MAX_EVENTS { Err(ReceiveStateError::TooMany) } else { Ok((spool, has_create)) }
}
