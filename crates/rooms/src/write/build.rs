//! From what a user wants to an event that is allowed, signed and ready to be committed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_protocol::auth::{self, AuthEvent};
use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::event::{Pdu, auth_types};
use plexus_protocol::id::{EventId, RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events::Verdict;
use plexus_store::{DbError, EventNid, Position, SnapshotNid, pdu_json};
use tokio::sync::MutexGuard;

use crate::actions::send::content;
use crate::model::current_state;
use crate::model::current_state::StateChange;
use crate::model::graph_tip::{Extremity, Tip};
use crate::model::head::Head;
use crate::model::load;
use crate::model::registry::Rooms;
use crate::model::room::Room;
use crate::model::state_map::{StateEntry, StateMap};
use crate::model::timeline_event::{Replaced, TimelineEvent, Transaction};
use crate::receive::Accepted;
use crate::write::error::SendError;
use crate::write::persist::{Append, PendingEvent, PendingSnapshot, PersistError, Sending};
use crate::write::redactions::{PendingRedaction, Target};
use crate::write::transactions::TransactionKey;

/// How often an event is built anew because the room has changed under it.
const ATTEMPTS: usize = 8;
/// More forward extremities than this are joined over several events (server-server API, "PDUs": 20 at most).
const MAX_PREV_EVENTS: usize = 20;
/// The greatest depth canonical JSON can say; other servers may have been there already.
pub(crate) const MAX_DEPTH: u64 = (1 << 53) - 1;

/// What is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub sender: UserId,
    pub event_type: String,
    pub state_key: Option<String>,
    pub content: Object,
    pub redacts: Option<Redacts>,
    /// Unix ms; now when `None`.
    pub origin_server_ts: Option<u64>,
    pub transaction: Option<(TransactionKey, Transaction)>,
}

impl Draft {
    /// A state event.
    pub fn state(sender: &UserId, event_type: &str, state_key: &str, content: Object) -> Self {
        Self {
            sender: sender.clone(),
            event_type: event_type.to_owned(),
            state_key: Some(state_key.to_owned()),
            content,
            redacts: None,
            origin_server_ts: None,
            transaction: None,
        }
    }
}

/// What a redaction redacts.
#[derive(Clone, Debug)]
pub(crate) struct Redacts {
    pub event_id: EventId,
    /// The event, when it is known.
    pub target: Option<Target>,
}

/// What came of a draft.
pub(crate) enum Built {
    /// A new event, and the room after it.
    Event(Box<PendingEvent>, Head),
    /// The state is what it was to become: the event that made it so.
    Unchanged(EventId),
}

/// An event that has been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The event.
    pub event_id: EventId,
    /// Its position; `None` when it had been sent before, or would have changed nothing.
    pub position: Option<Position>,
}

impl Rooms {
    /// Builds, commits, and answers once it is durable.
    pub(crate) async fn append(&self, room: &Arc<Room>, draft: &Draft) -> Result<Sent, SendError> {
        self.know_enough(room, draft).await?;
        if let Some(policy) = room.view().policy_server(&draft.event_type, draft.state_key.as_deref()) {
            return self.append_recommended(room, draft, &policy).await;
        }
        for _ in 0..ATTEMPTS {
            let mut head = self.lock_head(room).await?;
            let mut found = None;
            if let Some(Redacts { event_id, target: None }) = &draft.redacts {
                drop(head);
                head = self.settled_head(room).await?;
                // It may have come since it was looked up; from here on it sees the redaction when it comes.
                let redacts = Some(self.redacts(room, &draft.sender, event_id).await?);
                found = Some(Draft { redacts, ..draft.clone() });
            }
            let draft = found.as_ref().unwrap_or(draft);
            let built = self.build(Some(&room.id), room.version, &head, draft).await?;
            let (pending, next) = match built {
                Built::Event(pending, next) => (*pending, next),
                Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
            };
            let event_id = pending.pdu.event_id().clone();
            let permit = self.persister.reserve().await?;
            // From here to the queue nothing waits: a dropped request cannot leave a head whose event is lost.
            let epoch = head.epoch;
            *head = next;
            let events = vec![pending];
            let append = Append { room: Arc::clone(room), epoch, events, creation: None, entered: None };
            let committed = permit.send(append);
            drop(head);
            match committed.await {
                Ok(Ok(position)) => return Ok(Sent { event_id, position: Some(position) }),
                Ok(Err(PersistError::Stale)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(DbError::Closed.into()),
            }
        }
        Err(SendError::Contended)
    }

    /// Builds an event on the room's head, to be sent with [`Self::send_built`]. Meanwhile the room may change.
    pub(crate) async fn build_on_head(&self, room: &Room, draft: &Draft) -> Result<Built, SendError> {
        let head = self.lock_head(room).await?;
        self.build(Some(&room.id), room.version, &head, draft).await
    }

    /// Sends an event that [`Self::build_on_head`] built: it stands beside what others have sent since.
    pub(crate) async fn send_built(
        &self,
        room: &Arc<Room>,
        pdu: &Pdu,
        transaction: Option<&(TransactionKey, Transaction)>,
    ) -> Result<Sent, SendError> {
        match self.place_own(room, pdu, transaction).await? {
            Accepted::Timeline(position) => Ok(Sent { event_id: pdu.event_id().clone(), position: Some(position) }),
            Accepted::Known => Ok(Sent { event_id: pdu.event_id().clone(), position: None }),
            // The sender has lost the right to it meanwhile.
            Accepted::SoftFailed | Accepted::Rejected => Err(SendError::Contended),
        }
    }

    /// The room's head, to build on. After a failed commit it is taken from the database again.
    pub(crate) async fn lock_head<'a>(&self, room: &'a Room) -> Result<MutexGuard<'a, Head>, DbError> {
        let mut head = room.head.lock().await;
        let epoch = room.epoch.load(Ordering::Acquire);
        if head.epoch != epoch {
            let (nid, server_name, as_of) = (room.nid, self.server_name.clone(), room.redactions());
            let loaded = self.db.read(move |tx| load::room(tx, nid, server_name.as_str(), as_of)).await?;
            let loaded =
                loaded.ok_or_else(|| DbError::bad_data(format!("rooms, room_nid {nid}"), "the room is gone"))?;
            *head = Head::of(&loaded.view, epoch);
            room.set_view(loaded.view);
            room.revision.store(loaded.revision, Ordering::Release);
            // Whoever has moved the room on may have written later events.
            room.latest_ts.fetch_max(loaded.latest_ts, Ordering::Relaxed);
        }
        Ok(head)
    }

    /// The room's head when nothing is on its way to the database.
    pub(crate) async fn settled_head<'a>(&self, room: &'a Arc<Room>) -> Result<MutexGuard<'a, Head>, PersistError> {
        loop {
            let mut head = self.lock_head(room).await?;
            if head.is_committed(&room.view()) {
                head.redacting = false;
                return Ok(head);
            }
            let permit = self.persister.reserve().await?;
            let (epoch, events) = (head.epoch, Vec::new());
            let nothing = Append { room: Arc::clone(room), epoch, events, creation: None, entered: None };
            // What is before it in the queue is committed, or has failed and the head is read anew.
            let _ = permit.send(nothing).await.map_err(|_| DbError::Closed)?;
            head.hidden = false;
            if head.epoch == room.epoch.load(Ordering::Acquire) && !head.is_committed(&room.view()) {
                // Nothing is on its way any more that could bring them together: it is read anew, too.
                tracing::warn!(room = %room.id, "the room's head is not what is committed");
                room.epoch.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Builds the next event on `head` and checks that the room allows it. `room_id` is `None` for a create event that
    /// gives the room its id.
    pub(crate) async fn build(
        &self,
        room_id: Option<&RoomId>,
        version: RoomVersion,
        head: &Head,
        draft: &Draft,
    ) -> Result<Built, SendError> {
        content::check(&self.server_name, room_id, head.tip.extremities.is_empty(), draft)?;
        let replaced = self.replaced(version, head, draft).await?;
        if let Some((_, Some(before))) = &replaced
            && before.sender() == &draft.sender
            && before.content() == &draft.content
        {
            return Ok(Built::Unchanged(before.event_id().clone()));
        }
        let (builder, auth_state) = self.compose(room_id, version, head, draft).await?;
        let pdu = builder.build(version, &self.signing_key, &self.server_name)?;
        auth::check(version.rules(), &pdu, &auth_state.lookup())?;
        let nid = self.nids.take(2).await?;
        self.pending(version, head, draft, nid, pdu, replaced)
    }

    /// The event that a user of another server may complete and sign, checked as if it were (server-server API,
    /// `GET /make_join` and its kin).
    pub(crate) async fn template(&self, room: &Room, draft: &Draft) -> Result<Object, SendError> {
        let head = Head::of(&room.view(), 0);
        let (builder, auth_state) = self.compose(Some(&room.id), room.version, &head, draft).await?;
        let pdu = builder.clone().build(room.version, &self.signing_key, &self.server_name)?;
        auth::check(room.version.rules(), &pdu, &auth_state.lookup())?;
        Ok(builder.into_template(room.version))
    }

    /// The draft as the event that comes after `head`, and what decides whether it is allowed there.
    async fn compose(
        &self,
        room_id: Option<&RoomId>,
        version: RoomVersion,
        head: &Head,
        draft: &Draft,
    ) -> Result<(PduBuilder, AuthState), SendError> {
        let keys = auth_types::auth_event_keys(
            version.rules(),
            &draft.event_type,
            &draft.sender,
            draft.state_key.as_deref(),
            &draft.content,
        );
        let auth_state = self.auth_state_of(version, &head.current.state, keys).await?;
        let builder = PduBuilder {
            room_id: room_id.cloned(),
            sender: draft.sender.clone(),
            event_type: draft.event_type.clone(),
            state_key: draft.state_key.clone(),
            content: draft.content.clone(),
            unsigned: None,
            redacts: draft.redacts.as_ref().map(|redacts| redacts.event_id.clone()),
            prev_events: prev_events(head),
            auth_events: auth_state.auth_events.clone(),
            depth: (head.tip.depth + 1).min(MAX_DEPTH),
            origin_server_ts: draft.origin_server_ts.unwrap_or_else(|| self.clock.now_ms()),
        };
        Ok((builder, auth_state))
    }

    fn pending(
        &self,
        version: RoomVersion,
        head: &Head,
        draft: &Draft,
        nid: EventNid,
        pdu: Pdu,
        replaced: Option<(EventNid, Option<Pdu>)>,
    ) -> Result<Built, SendError> {
        let mut next = head.clone();
        next.tip = Tip {
            extremities: Arc::new([Extremity { nid, event_id: pdu.event_id().clone() }]),
            depth: pdu.depth(),
            snapshot: head.tip.snapshot,
        };
        next.redacting |= draft.redacts.is_some();
        let server_name = self.server_name.as_str();
        let target = draft.redacts.as_ref().and_then(|redacts| redacts.target.clone());
        let redacts = target.map(|target| PendingRedaction::new(target, &mut next.current, version, server_name));
        let mut event = None;
        let (mut changes, mut snapshots) = (Vec::new(), Vec::new());
        if let Some(state_key) = pdu.state_key() {
            let event_type = known_type(&head.current.state, pdu.event_type());
            let kept = Arc::new(TimelineEvent::new(nid, 0, pdu.clone(), None, None));
            let entry = Arc::new(StateEntry::of(event_type, state_key.into(), &kept));
            let own = (Arc::clone(&entry.event_type), Arc::clone(&entry.state_key), nid);
            let change = StateChange::set(entry, replaced.as_ref().map(|(nid, _)| *nid));
            next.tip.snapshot = head.tip.snapshot.child(snapshot_after(nid), 1);
            next.current = Arc::new(current_state::with_changes(&next.current, [&change], version, server_name));
            snapshots =
                vec![PendingSnapshot { parent: head.tip.snapshot, snapshot: next.tip.snapshot, changes: vec![own] }];
            changes = vec![change];
            event = Some(kept);
        }
        let pending = PendingEvent {
            nid,
            packed: pdu_json::pack(pdu.json()).map_err(DbError::from)?,
            stored: false,
            in_timeline: true,
            verdict: Verdict::Accepted,
            snapshot_before: Some(head.tip.snapshot),
            snapshots,
            changes,
            replaced: replaced.and_then(|(nid, before)| Some(Replaced::of(nid, &before?))),
            _kept: event,
            transaction: draft.transaction.clone(),
            redacted_by: None,
            redacts,
            tip: next.tip.clone(),
            current: Arc::clone(&next.current),
            sending: Sending::Own,
            missing: None,
            pdu,
        };
        Ok(Built::Event(Box::new(pending), next))
    }

    /// The state event that the draft would replace, if that can be read.
    async fn replaced(
        &self,
        version: RoomVersion,
        head: &Head,
        draft: &Draft,
    ) -> Result<Option<(EventNid, Option<Pdu>)>, DbError> {
        let entry = draft.state_key.as_ref().and_then(|key| head.current.state.get(&draft.event_type, key));
        match entry {
            None => Ok(None),
            Some(entry) => Ok(Some((entry.nid, self.readable_entry_pdu(version, entry).await?))),
        }
    }

    /// Of a state what decides whether an event is allowed.
    pub(crate) async fn auth_state(
        &self,
        version: RoomVersion,
        state: &StateMap,
        pdu: &Pdu,
    ) -> Result<AuthState, DbError> {
        let keys = auth_types::auth_event_keys(
            version.rules(),
            pdu.event_type(),
            pdu.sender(),
            pdu.state_key(),
            pdu.content(),
        );
        self.auth_state_of(version, state, keys).await
    }

    async fn auth_state_of(
        &self,
        version: RoomVersion,
        state: &StateMap,
        keys: Vec<(String, String)>,
    ) -> Result<AuthState, DbError> {
        let mut found =
            AuthState { auth_events: Vec::with_capacity(keys.len()), state: Vec::with_capacity(keys.len() + 1) };
        for (event_type, state_key) in keys {
            if let Some(entry) = state.get(&event_type, &state_key) {
                let pdu = self.entry_pdu(version, entry).await?;
                found.auth_events.push(pdu.event_id().clone());
                found.state.push(pdu);
            }
        }
        if version.rules().create_event_is_room_id
            && let Some(create) = state.get("m.room.create", "")
        {
            found.state.push(self.entry_pdu(version, create).await?);
        }
        Ok(found)
    }
}

/// The number of the state after a state event: that of the event and one more.
pub(crate) fn snapshot_after(event: EventNid) -> SnapshotNid {
    event + 1
}

/// The part of a state that the authorization rules look at.
pub(crate) struct AuthState {
    pub auth_events: Vec<EventId>,
    pub state: Vec<Pdu>,
}

impl AuthState {
    /// Adds those of `events` that are member events of users of whom the state has none.
    pub fn add_members<'a>(&mut self, events: impl Iterator<Item = &'a AuthEvent>) {
        for AuthEvent { pdu, .. } in events.filter(|event| !event.rejected) {
            let Some(user) = pdu.state_key().filter(|_| pdu.event_type() == "m.room.member") else { continue };
            if !self.state.iter().any(|known| known.is_state("m.room.member", user)) {
                self.state.push(pdu.clone());
            }
        }
    }

    /// As `auth::check` asks for it.
    pub fn lookup(&self) -> impl Fn(&str, &str) -> Option<Pdu> {
        |event_type, state_key| self.state.iter().find(|pdu| pdu.is_state(event_type, state_key)).cloned()
    }
}

fn prev_events(head: &Head) -> Vec<EventId> {
    head.tip.extremities.iter().take(MAX_PREV_EVENTS).map(|extremity| extremity.event_id.clone()).collect()
}

/// The type's text as the state has it already, so that a room holds each type once.
pub(crate) fn known_type(state: &StateMap, event_type: &str) -> Arc<str> {
    state.of_type(event_type).next().map_or_else(|| event_type.into(), |entry| Arc::clone(&entry.event_type))
}
