//! A room's state as another server tells it: checked while it comes in, and stored when all of it has come.

use std::sync::Arc;

use plexus_net::federation::FederationError;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events::Verdict;
use plexus_store::{DbError, EventNid};
use tokio::task::JoinSet;

use super::PduReceiver;
use super::spool::Spool;
use crate::peers::{RawPdu, StatePart, StateParts};
use crate::room::Room;

/// So many parts are being checked while the next one comes in.
const CHECKED_AT_ONCE: usize = 4;
/// So many events are judged and written, or looked up, at a time.
const AT_ONCE: usize = 1_000;
/// The most events that a room's state may be made of, those that allow it and that are only named included.
const MOST_EVENTS: usize = 2_000_000;

/// What another server told of a room, stored.
#[derive(Default)]
pub(crate) struct TakenIn {
    /// The join, when it was completed by the other server.
    pub join: Option<RawPdu>,
    /// The events of the state that are of use.
    pub state: Vec<EventNid>,
    /// Those of them without which nothing goes: which have an empty state key, are of this server's users, or stand where
    /// something is known already.
    pub first: Vec<EventNid>,
    /// Whether member events are missing from the state.
    pub members_omitted: bool,
    /// The servers in the room, when it was told.
    pub servers: Vec<ServerName>,
}

/// Why a state was not taken in. Events of it may be stored, as outliers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeInError {
    #[error(transparent)]
    Remote(#[from] FederationError),
    #[error("the state is made of too many events")]
    TooMany,
    #[error("the state has no create event of the room's version")]
    NoCreate,
    #[error("the events cannot be kept while they are checked: {0}")]
    Spool(#[from] std::io::Error),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl PduReceiver {
    /// Reads to the end what another server tells, checks it, and stores it as outliers. What was rejected is no part of the
    /// state.
    pub(crate) async fn take_in(&self, room: &Arc<Room>, parts: &mut dyn StateParts) -> Result<TakenIn, TakeInError> {
        let mut taken = TakenIn::default();
        let (view, own) = (room.view(), self.rooms.server_name.clone());
        let mut spool = Spool::new(Box::new(move |pdu| {
            let state_key = pdu.state_key().unwrap_or_default();
            let own_user = || state_key.split_once(':').is_some_and(|(_, server)| server == own.as_str());
            state_key.is_empty() || own_user() || view.state.get(pdu.event_type(), state_key).is_some()
        }));
        let mut checking = JoinSet::new();
        let mut has_create = false;
        while let Some(part) = parts.next().await? {
            let (events, of_state) = match part {
                StatePart::Join(event) => {
                    taken.join = Some(event);
                    continue;
                }
                StatePart::MembersOmitted => {
                    taken.members_omitted = true;
                    continue;
                }
                StatePart::Servers(servers) => {
                    taken.servers = servers;
                    continue;
                }
                StatePart::State(events) => (events, true),
                StatePart::AuthChain(events) => (events, false),
            };
            let (receiver, of_room) = (self.clone(), Arc::clone(room));
            checking.spawn(async move { (receiver.open(&of_room, events).await, of_state) });
            while checking.len() >= CHECKED_AT_ONCE {
                has_create |= keep(&mut spool, &mut checking, room.version).await?;
            }
        }
        while !checking.is_empty() {
            has_create |= keep(&mut spool, &mut checking, room.version).await?;
        }
        if !has_create {
            return Err(TakeInError::NoCreate);
        }
        for numbers in spool.auth_events_first().chunks(AT_ONCE) {
            let pdus = spool.read(numbers, room.version)?;
            self.rooms.store_outliers(room, pdus).await?;
        }
        let (first, rest): (Vec<_>, Vec<_>) =
            spool.state_ids().map(|(id, first)| (id.clone(), first)).partition(|it| it.1);
        drop(spool);
        let ids = |list: Vec<(EventId, bool)>| list.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        taken.first = self.usable_state(room, &ids(first)).await?;
        taken.state = taken.first.clone();
        taken.state.extend(self.usable_state(room, &ids(rest)).await?);
        Ok(taken)
    }

    /// The numbers of those events that can be part of the room's state.
    pub(super) async fn usable_state(&self, room: &Room, ids: &[EventId]) -> Result<Vec<EventNid>, DbError> {
        let mut nids = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let known = self.rooms.known(ids).await?;
            let usable = ids
                .iter()
                .filter_map(|id| known.get(id))
                .filter(|known| known.is_state && known.room_nid == room.nid && known.verdict != Verdict::Rejected);
            nids.extend(usable.map(|known| known.event_nid));
        }
        Ok(nids)
    }
}

/// Keeps the next events that have been checked; whether the room's create event is among them.
async fn keep(
    spool: &mut Spool,
    checking: &mut JoinSet<(Vec<Pdu>, bool)>,
    version: RoomVersion,
) -> Result<bool, TakeInError> {
    let Some(checked) = checking.join_next().await else { return Ok(false) };
    let (pdus, of_state) = checked.map_err(std::io::Error::other)?;
    spool.add(&pdus, of_state)?;
    if spool.len() > MOST_EVENTS {
        return Err(TakeInError::TooMany);
    }
    let stated = |create: &Pdu| create.content().get_str("room_version").unwrap_or("1") == version.as_str();
    Ok(of_state && pdus.iter().any(|pdu| pdu.is_state("m.room.create", "") && stated(pdu)))
}
