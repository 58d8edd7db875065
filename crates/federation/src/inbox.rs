//! Receives transactions of other servers (<https://spec.matrix.org/v1.19/server-server-api/#transactions>). Their
//! events are checked, staged durably, and acknowledged. Then the events of each room are added in order, different
//! rooms at the same time.

mod origin_queues;
mod room_queues;
mod staged;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, future, stream};
use plexus_base::config::PolicyCallback;
use plexus_net::Gates;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, RoomId, ServerName};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::AddError;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::out_of_band;
use plexus_store::repo::received::NewStaged;
use plexus_store::{DbError, RoomNid, event_key, pdu_json, repo};
use room_queues::Queues;
use serde::{Deserialize, Serialize};
use staged::StagedEvents;

use crate::peers::RawPdu;
use crate::receive::panics::parse;
use crate::receive::{PduReceiver, ReceiveError, is_end_of_invite, may_end};

/// How many events of one server may be staged. Further transactions of the server are refused until there are fewer.
const MAX_STAGED: u32 = 2_000;

/// The number of events that policy hooks are asked about at the same time.
const MAX_ASKED_AT_ONCE: usize = 16;

/// Receives transactions.
pub struct Inbox {
    receiver: Arc<PduReceiver>,
    queues: Queues,
    staged: StagedEvents,
    /// Admits one transaction of each origin. It is held while keys are fetched, so no two origins share it.
    origins: Gates,
}

/// The response to a transaction: the result of each event.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransactionResult {
    /// Event ids to results. Events whose id cannot be computed are left out.
    pub pdus: BTreeMap<EventId, PduResult>,
}

/// The result of an event.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct PduResult {
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why a transaction was not received. Nothing of it is acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// Too many events of the server are staged.
    #[error("{MAX_STAGED} of your events are not processed yet; try again later")]
    Full,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// An event that passed the checks, on its way to the staging area.
struct Checked {
    room: RoomOfPdu,
    pdu: Pdu,
}

/// The room of a received event.
enum RoomOfPdu {
    Readable(Arc<Room>),
    /// Its state cannot be read now. Its events are staged, and checked once the state can be read.
    Unreadable {
        nid: RoomNid,
        id: RoomId,
        version: RoomVersion,
    },
}

impl RoomOfPdu {
    fn nid(&self) -> RoomNid {
        match self {
            Self::Readable(room) => room.nid,
            Self::Unreadable { nid, .. } => *nid,
        }
    }

    fn id(&self) -> &RoomId {
        match self {
            Self::Readable(room) => &room.id,
            Self::Unreadable { id, .. } => id,
        }
    }

    fn version(&self) -> RoomVersion {
        match self {
            Self::Readable(room) => room.version,
            Self::Unreadable { version, .. } => *version,
        }
    }
}

impl Inbox {
    /// Returns an inbox whose events `receiver` adds to rooms.
    #[must_use]
    pub fn new(receiver: Arc<PduReceiver>) -> Arc<Self> {
        let staged = StagedEvents::new(receiver.db.clone(), receiver.clock.clone());
        Arc::new(Self { receiver, queues: Queues::default(), staged, origins: Gates::new(1) })
    }

    /// Returns the receiver that adds the events to rooms.
    #[must_use]
    pub fn receiver(&self) -> &Arc<PduReceiver> {
        &self.receiver
    }

    /// Continues with events that an earlier run of the program acknowledged and did not add.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume(self: &Arc<Self>) -> Result<(), DbError> {
        let db = &self.receiver.db;
        // Deferred events are tried at once: this version of the program may be able to add them.
        db.write(|tx| repo::received::take_due(tx, i64::MAX.unsigned_abs())).await?;
        for room in db.read(repo::received::staged_rooms).await? {
            self.wake(room, None);
        }
        Ok(())
    }

    /// Tries deferred events again when they are due. Runs until the database is closed.
    pub async fn run_retries(self: Arc<Self>) {
        // When stalled rooms are woken: an interval after the first of them, however often events are deferred.
        let mut wake_at = None;
        while self.staged.next_due(&mut wake_at, |room| self.wake(room, None)).await.is_ok() {}
    }

    /// Receives a transaction. Returns the JSON of the response once its events are durable. A repeated transaction
    /// gets its stored response. For a new one, `edus` is awaited first.
    ///
    /// # Errors
    /// When too many of the server's events are staged, or the database fails: nothing is acknowledged.
    pub async fn receive(
        self: &Arc<Self>,
        origin: &ServerName,
        txn_id: &str,
        pdus: Vec<RawPdu>,
        edus: impl Future<Output = Result<(), DbError>> + Send,
    ) -> Result<String, InboxError> {
        let _one_at_a_time = self.origins.enter(origin.as_str()).await;
        let db = &self.receiver.db;
        let (name, txn) = (origin.clone(), txn_id.to_owned());
        if let Some(response) = db.read(move |tx| repo::received::response(tx, name.as_str(), &txn)).await? {
            return Ok(response);
        }
        let name = origin.clone();
        if db.read(move |tx| repo::received::count_of(tx, name.as_str(), MAX_STAGED)).await? >= MAX_STAGED {
            tracing::warn!("{MAX_STAGED} events of {origin} are staged; its transactions are refused for now");
            return Err(InboxError::Full);
        }
        edus.await?;
        let (result, checked) = self.check(origin, pdus).await?;
        let response = serde_json::to_string(&result).unwrap_or_else(|_| "{}".to_owned());
        let mut staged = Vec::with_capacity(checked.len());
        let mut seen = HashSet::new();
        for Checked { room, pdu } in checked {
            // The same event may be in a transaction twice.
            if !seen.insert(pdu.event_id().clone()) {
                continue;
            }
            match &room {
                RoomOfPdu::Readable(room) if room.view().is_out_of_band() => self.end_invite(room, &pdu).await?,
                _ => staged.push(Checked { room, pdu }),
            }
        }
        let checked = staged;
        let staged = checked.iter().map(|Checked { room, pdu }| {
            Ok(NewStaged {
                room_nid: room.nid(),
                origin: origin.to_string(),
                event_id: event_key::encode(pdu.event_id()),
                json: pdu_json::pack(pdu.json())?,
            })
        });
        let staged = staged.collect::<Result<Vec<_>, DbError>>()?;
        let (name, txn, stored) = (origin.clone(), txn_id.to_owned(), response.clone());
        let now_ms = self.receiver.clock.now_ms();
        db.write(move |tx| {
            repo::received::stage(tx, &staged)?;
            repo::received::set_response(tx, name.as_str(), &txn, now_ms, &stored)
        })
        .await?;
        let rooms: BTreeSet<RoomNid> = checked.iter().map(|checked| checked.room.nid()).collect();
        for room in rooms {
            self.wake(room, Some(origin.as_str()));
        }
        Ok(response)
    }

    /// Checks the format, room, access control list, signatures and hash of the events.
    async fn check(&self, origin: &ServerName, raw: Vec<RawPdu>) -> Result<(TransactionResult, Vec<Checked>), DbError> {
        let mut result = TransactionResult::default();
        let mut candidates: Vec<Checked> = Vec::new();
        for raw in raw {
            let Some(room) = self.room_of(&raw).await? else {
                tracing::debug!("{origin} sent an event of an unknown room");
                continue;
            };
            let pdu = match parse(&raw, room.version()) {
                Ok(pdu) => pdu,
                Err(error) => {
                    tracing::info!(room = %room.id(), "an event of {origin} is refused: {error}");
                    continue;
                }
            };
            let admitted = match &room {
                _ if pdu.room_id() != room.id() => Err(ReceiveError::OtherRoom),
                RoomOfPdu::Readable(room) => admit(room, origin, &pdu),
                RoomOfPdu::Unreadable { .. } => Ok(()),
            };
            match admitted {
                Err(error) => _ = result.pdus.insert(pdu.event_id().clone(), refusal(&error)),
                Ok(()) => candidates.push(Checked { room, pdu }),
            }
        }
        let verified = self.receiver.verifier.verify(candidates.iter().map(|it| it.pdu.clone()).collect()).await;
        let mut checked = Vec::with_capacity(candidates.len());
        for (candidate, verified) in candidates.into_iter().zip(verified) {
            let id = candidate.pdu.event_id().clone();
            match verified {
                Ok(pdu) => {
                    result.pdus.insert(id, PduResult::default());
                    checked.push(Checked { pdu, ..candidate });
                }
                Err(error) => {
                    let room = candidate.room.id();
                    tracing::info!(event = %id, %room, "an event of {origin} is refused: {error}");
                    result.pdus.insert(id, refusal(&error));
                }
            }
        }
        Ok((result, self.without_dropped(checked).await))
    }

    /// Returns the events without those that a policy hook drops. They count as received.
    async fn without_dropped(&self, checked: Vec<Checked>) -> Vec<Checked> {
        let hooks = self.receiver.writer.policy_hooks();
        let Some(hooks) = hooks.filter(|hooks| hooks.asks(PolicyCallback::ShouldDropFederatedEvent)) else {
            return checked;
        };
        let asked = stream::iter(checked).map(async |event| {
            let is_dropped = hooks.should_drop_federated_event(&event.pdu).await;
            if is_dropped {
                let (event, room) = (event.pdu.event_id(), event.room.id());
                tracing::info!(%event, %room, "dropped: a policy hook wants it");
            }
            (!is_dropped).then_some(event)
        });
        asked.buffered(MAX_ASKED_AT_ONCE).filter_map(future::ready).collect().await
    }

    /// Ends the invite or knock of a user of this server in a room that this server is not in, if `pdu` may end it.
    async fn end_invite(&self, room: &Arc<Room>, pdu: &Pdu) -> Result<(), DbError> {
        if !self.may_end(room, pdu).await? {
            tracing::info!(event = %pdu.event_id(), room = %room.id, "dropped: its sender may not end the invite");
            return Ok(());
        }
        match out_of_band::set_membership(&self.receiver.writer, room, pdu).await {
            Err(AddError::Db(error)) => Err(error),
            Err(error) => {
                tracing::info!(event = %pdu.event_id(), room = %room.id, "dropped: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn may_end(&self, room: &Room, pdu: &Pdu) -> Result<bool, DbError> {
        let view = room.view();
        let Some(entry) = pdu.state_key().and_then(|user| view.state.get("m.room.member", user)) else {
            return Ok(false);
        };
        let pending = room.readable_state_event(entry).await?;
        Ok(pending.is_some_and(|pending| may_end(&pending.pdu, pdu)))
    }

    /// Returns the room of an event, or `None` if it is unknown or, which is logged, not even its version can be read.
    async fn room_of(&self, raw: &RawPdu) -> Result<Option<RoomOfPdu>, DbError> {
        #[derive(Deserialize)]
        struct InRoom {
            room_id: RoomId,
        }
        let Ok(InRoom { room_id: id }) = serde_json::from_str::<InRoom>(raw.get()) else { return Ok(None) };
        let rooms = &self.receiver.rooms;
        match rooms.get(&id).await {
            Ok(room) => Ok(room.map(RoomOfPdu::Readable)),
            Err(error) if error.is_bad_data() => {
                tracing::warn!("room {id} cannot be read; its events stay staged: {error}");
                match rooms.number_and_version(&id).await {
                    Err(error) if error.is_bad_data() => Ok(plexus_store::readable(Err(error))),
                    found => Ok(found?.map(|(nid, version)| RoomOfPdu::Unreadable { nid, id, version })),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Checks that the room accepts events of `origin` now: this server is in the room, or the event ends an invite, and
/// the room's access control list allows `origin`
/// (<https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls>).
fn admit(room: &Room, origin: &ServerName, pdu: &Pdu) -> Result<(), ReceiveError> {
    let view = room.view();
    if view.local_joined.is_empty() && !is_end_of_invite(room, pdu) {
        Err(ReceiveError::NotInRoom)
    } else if !view.allows_server(origin) {
        Err(ReceiveError::DeniedByAcl)
    } else {
        Ok(())
    }
}

fn refusal(error: &ReceiveError) -> PduResult {
    PduResult { error: Some(error.to_string()) }
}
