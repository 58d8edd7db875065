//! What a room held before this server came into it, fetched when somebody pages back that far (server-server API,
//! "Backfilling and retrieving missing events").

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::auth;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_store::repo::events::{NewEvent, Verdict};
use plexus_store::repo::relations::RelationRow;
use plexus_store::repo::state_snapshots;
use plexus_store::{DbError, EventNid, Tx, event_key, pdu_json, repo};

use super::place::{Candidate, behind};
use super::state_before::ToldStates;
use super::{Effort, PduReceiver, ReceiveError};
use crate::auth_index;
use crate::head::Head;
use crate::interner::{Lookups, NewTexts};
use crate::load;
use crate::outliers;
use crate::persist::{PendingSnapshot, Sending, apply_redactions};
use crate::redactions::{PendingRedaction, Target, redaction_target};
use crate::registry::Rooms;
use crate::relations::target_of;
use crate::room::Room;
use crate::timeline_event::{AppliedRedaction, TimelineEvent};

/// How many events are asked for at once.
const LIMIT: u32 = 100;
/// How many servers are asked.
const SERVERS: usize = 3;
/// How many of the oldest events are looked at for what came before them.
const OLDEST: u64 = 20;

/// An event of the past, judged.
struct Past {
    nid: EventNid,
    stored: bool,
    pdu: Pdu,
    verdict: Verdict,
    snapshot_nid: i64,
    snapshots: Vec<PendingSnapshot>,
    redacted_by: Option<Arc<TimelineEvent>>,
    redacts: Option<Target>,
}

impl Past {
    /// What is redacted with it, each with its redaction: itself, by one that came before it, and what it redacts.
    fn redactions(&self) -> Vec<(Target, Arc<TimelineEvent>)> {
        let event = Arc::new(TimelineEvent::new(self.nid, 0, self.pdu.clone(), None, None));
        let itself = self.redacted_by.clone().map(|because| (Target::of(&event), because));
        itself.into_iter().chain(self.redacts.clone().map(|target| (target, event))).collect()
    }
}

impl PduReceiver {
    /// Fetches events from before the oldest of the timeline, once all of the room's state is here; `false` when there is nothing
    /// more, or nobody gives it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backfill(&self, room: &Arc<Room>) -> Result<bool, ReceiveError> {
        if self.rooms.full_state(room).await.is_err() {
            return Ok(false);
        }
        let before = self.oldest(room).await?;
        let _one_at_a_time = room.backfilling.lock().await;
        let oldest = self.oldest(room).await?;
        if oldest.first() != before.first() {
            return Ok(true);
        }
        let unknown: Vec<EventId> = self.unknown_prev_events(&oldest).await?.into_iter().collect();
        if unknown.is_empty() {
            return Ok(false);
        }
        let ends: Vec<Pdu> =
            oldest.into_iter().filter(|pdu| pdu.prev_events().iter().any(|id| unknown.contains(id))).collect();
        let ids: Vec<EventId> = ends.iter().map(|pdu| pdu.event_id().clone()).collect();
        let effort = Effort::of_request();
        for server in ways_back(&self.rooms, room, &ends) {
            let asked = self.peers.backfill(&server, &room.id, &ids, LIMIT);
            let raw = match effort.ask(&server, asked).await {
                Ok(raw) => raw,
                Err(error) => {
                    tracing::info!(room = %room.id, "paging back by way of {server} failed: {error}");
                    continue;
                }
            };
            let found = self.open(room, raw.into_iter().take(LIMIT as usize).collect()).await;
            let found = self.not_placed(found).await?;
            let pdus = outliers::prev_events_first(super::fetch_missing::connected(&ends, found));
            if !pdus.is_empty() && self.place_past(&server, room, pdus, &effort).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The oldest events of the timeline that can be read.
    pub(super) async fn oldest(&self, room: &Room) -> Result<Vec<Pdu>, DbError> {
        let (nid, version) = (room.nid, room.version);
        let rows = self.rooms.db.read(move |tx| repo::events::oldest(tx, nid, i64::MIN, i64::MAX, OLDEST)).await?;
        Ok(rows.iter().filter_map(|row| plexus_store::readable(load::parse(row, version))).collect())
    }

    /// Judges events, prev events first, by the state before each, and puts them before everything else in the timeline.
    async fn place_past(
        &self,
        server: &ServerName,
        room: &Arc<Room>,
        pdus: Vec<Pdu>,
        effort: &Effort,
    ) -> Result<bool, ReceiveError> {
        self.complete_auth_events(server, room, &pdus, effort).await?;
        let told = self.told_states(server, room, &pdus, effort).await?;
        let (rooms, room) = (Arc::clone(&self.rooms), Arc::clone(room));
        // Whoever pages back may hang up: what has been begun comes to its end, in memory too.
        let placing = tokio::spawn(async move { rooms.place_past(&room, &pdus, &told).await });
        placing.await.unwrap_or(Err(DbError::Closed.into()))
    }
}

impl Rooms {
    async fn place_past(&self, room: &Arc<Room>, pdus: &[Pdu], told: &ToldStates) -> Result<bool, ReceiveError> {
        let _one_at_a_time = room.intake.lock().await;
        let mut placed = 0;
        for pdu in pdus {
            let ids = [pdu.event_id().clone()];
            let known = self.known(&ids).await?;
            let stored = known.get(pdu.event_id());
            if stored.is_some_and(|known| known.snapshot_nid.is_some() || known.room_nid != room.nid) {
                continue;
            }
            let mut named = pdu.auth_events().to_vec();
            named.extend(outliers::create_of(pdu));
            let auth_events = auth_index::auth_events(&self.db, (room.nid, room.version), &named).await?;
            let Some(by_auth_events) = outliers::by_auth_events(room.version, pdu, &auth_events) else { continue };
            let told = told.get(pdu.event_id());
            let candidate = Candidate {
                pdu,
                stored,
                by_auth_events,
                auth_events: &auth_events,
                told,
                entering: false,
                partial: None,
                sending: Sending::No,
                transaction: None,
            };
            match self.write_past(room, &candidate).await {
                Ok(()) => placed += 1,
                Err(ReceiveError::MissingEvents) => {}
                Err(error) => return Err(error),
            }
        }
        self.order_past(room, pdus).await?;
        Ok(placed > 0)
    }

    async fn past(&self, room: &Arc<Room>, head: &Head, candidate: &Candidate<'_>) -> Result<Past, ReceiveError> {
        let pdu = candidate.pdu;
        let before = self.before(room, head, candidate).await?;
        let state = self.auth_state(room.version, &before.at.state, pdu).await?;
        let allowed = auth::check(room.version.rules(), pdu, &state.lookup()).is_ok();
        let verdict = match candidate.by_auth_events {
            Verdict::Accepted if allowed => Verdict::Accepted,
            _ => Verdict::Rejected,
        };
        let nid = match candidate.stored {
            Some(known) => known.event_nid,
            None => self.nids.take(2).await?,
        };
        let redacted_by = self.early_redaction(room, pdu).await?;
        let redacts = self.redaction_target(room, &before.at, pdu).await?.filter(|_| verdict == Verdict::Accepted);
        let snapshot_nid = before.at.snapshot.nid;
        let snapshots = behind(nid, pdu, verdict, before).new;
        let stored = candidate.stored.is_some();
        Ok(Past { nid, stored, pdu: pdu.clone(), verdict, snapshot_nid, snapshots, redacted_by, redacts })
    }

    async fn write_past(&self, room: &Arc<Room>, candidate: &Candidate<'_>) -> Result<(), ReceiveError> {
        // Held until the commit: nothing is on its way into the room that redacts the event or that the event redacts,
        // and its state may hold what is redacted.
        let mut head = self.settled_head(room).await?;
        let past = self.past(room, &head, candidate).await?;
        let (nid, shared) = (room.nid, Arc::clone(&self.shared));
        let redactions = past.redactions();
        if redactions.is_empty() {
            let write = self.db.write(move |tx| {
                let texts = write(tx, nid, &past, shared.interner.lookups())?;
                tx.after_commit(move || shared.interner.keep(texts));
                Ok::<_, DbError>(())
            });
            return Ok(write.await?);
        }
        let mut current = Arc::clone(&head.current);
        let (version, server_name) = (room.version, self.server_name.as_str());
        let pending: Vec<_> = redactions
            .into_iter()
            .map(|(target, because)| (PendingRedaction::new(target, &mut current, version, server_name), because))
            .collect();
        let ended = head.current.guests_can_join && !current.guests_can_join && !current.local_joined.is_empty();
        let guest_access_ended = ended.then(|| room.view().position);
        let (now_ms, writing, next) = (self.clock.now_ms(), Arc::clone(room), Arc::clone(&current));
        self.db
            .write(move |tx| {
                let texts = write(tx, nid, &past, shared.interner.lookups())?;
                for (redaction, because) in &pending {
                    repo::events::set_redacted(tx, redaction.target.nid, because.nid)?;
                    repo::redactions::add(tx, &[redaction.target.nid], now_ms)?;
                }
                if let Some(position) = guest_access_ended {
                    repo::guest_access::ended(tx, nid, position)?;
                }
                tx.after_commit(move || {
                    shared.interner.keep(texts);
                    let applied = pending.iter().map(|(redaction, because)| AppliedRedaction {
                        target: redaction.target.nid,
                        left: &redaction.target.left,
                        because,
                    });
                    apply_redactions(&shared, &writing, next, applied);
                });
                Ok::<_, DbError>(())
            })
            .await?;
        head.current = current;
        self.summaries.forget(nid);
        Ok(())
    }

    /// Gives events their places before the oldest of the timeline; the last of them is the newest.
    async fn order_past(&self, room: &Room, pdus: &[Pdu]) -> Result<(), DbError> {
        let keys: Vec<Vec<u8>> = pdus.iter().map(|pdu| event_key::encode(pdu.event_id())).collect();
        let nid = room.nid;
        self.db
            .write(move |tx| {
                let known = repo::events::known(tx, &keys)?;
                let unplaced: HashSet<(Vec<u8>, EventNid)> = known
                    .into_iter()
                    .filter(|known| known.position.is_none() && known.verdict == Verdict::Accepted)
                    .filter(|known| known.room_nid == nid && known.snapshot_nid.is_some())
                    .map(|known| (known.event_id, known.event_nid))
                    .collect();
                let first = repo::events::lowest_position(tx, nid)?.min(0);
                let newest_first =
                    keys.iter().rev().filter_map(|key| unplaced.iter().find(|(id, _)| id == key).map(|(_, nid)| *nid));
                let positions: Vec<(EventNid, i64)> =
                    newest_first.zip(1_i64..).map(|(event, back)| (event, first - back)).collect();
                repo::events::set_past_positions(tx, &positions)
            })
            .await
    }
}

/// The servers to ask: those of who sent the oldest events, then others in the room.
pub(super) fn ways_back(rooms: &Rooms, room: &Room, oldest: &[Pdu]) -> Vec<ServerName> {
    let view = room.view();
    let senders = oldest.iter().map(|pdu| pdu.sender().server_name());
    let of_room = room.id.server_name();
    let mut seen = HashSet::new();
    senders
        .chain(of_room)
        .filter(|name| view.servers.contains(name))
        .chain(view.servers.names())
        .filter(|name| *name != rooms.server_name.as_str() && seen.insert(name.to_string()))
        .filter_map(|name| ServerName::try_from(name).ok())
        .take(SERVERS)
        .collect()
}

fn write(tx: &mut Tx<'_>, room: i64, past: &Past, mut lookups: Lookups<'_>) -> Result<NewTexts, DbError> {
    let pdu = &past.pdu;
    let row = NewEvent {
        event_nid: past.nid,
        event_id: event_key::encode(pdu.event_id()),
        room_nid: room,
        position: None,
        late: false,
        depth: i64::try_from(pdu.depth()).unwrap_or(i64::MAX),
        type_nid: lookups.event_type(tx, pdu.event_type())?,
        state_key_nid: pdu.state_key().map(|key| lookups.state_key(tx, key)).transpose()?,
        sender_nid: lookups.user(tx, pdu.sender())?,
        origin_server_ts: i64::try_from(pdu.origin_server_ts()).unwrap_or(i64::MAX),
        snapshot_nid: Some(past.snapshot_nid),
        verdict: past.verdict,
        json: if past.stored { Vec::new() } else { pdu_json::pack(pdu.json())? },
    };
    if past.stored {
        repo::events::place(tx, &[row])?;
    } else {
        repo::events::insert(tx, &[row])?;
    }
    let mut snapshots = state_snapshots::Writer::default();
    for snapshot in &past.snapshots {
        let mut changes = Vec::with_capacity(snapshot.changes.len());
        for (event_type, state_key, event) in &snapshot.changes {
            changes.push(((lookups.event_type(tx, event_type)?, lookups.state_key(tx, state_key)?), *event));
        }
        snapshots.add(tx, room, snapshot.parent, snapshot.snapshot, changes)?;
    }
    snapshots.finish(tx)?;
    if past.verdict == Verdict::Accepted
        && past.redacts.as_ref().is_none_or(|target| !target.placed)
        && let Some(target) = redaction_target(pdu)
    {
        repo::redactions::add_early(tx, &[(event_key::encode(target), past.nid)])?;
    }
    if let Some((target, rel_type)) = target_of(pdu).filter(|_| past.verdict == Verdict::Accepted) {
        let target = event_key::encode(&target);
        repo::relations::insert(tx, &[RelationRow { event_nid: past.nid, room_nid: room, target, rel_type }])?;
    }
    Ok(lookups.into_new())
}
