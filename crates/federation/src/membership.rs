//! Changes memberships in rooms that this server is not in: a server in the room returns a template of the event, and
//! accepts the signed event (<https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>,
//! <https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms>,
//! <https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites>).

mod error;
mod invite;
mod remote_joins;
mod template;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::event::{Pdu, PduError, auth_types, sign};
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::actions::membership::{MembershipChange, MembershipError, RemoteMemberships, Via};
use plexus_rooms::actions::profile;
use plexus_rooms::actions::upgrade::successor;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::model::state_map::StateEntry;
use plexus_rooms::read::stripped::StrippedState;
use plexus_rooms::write::append::Sent;
use plexus_rooms::write::error::SendError;
use plexus_rooms::write::graph::{self, AddOutcome, PartialJoinState};
use plexus_rooms::write::peer_error::PeerError;
use plexus_rooms::write::{out_of_band, partial_state};
use plexus_store::EventNid;
use remote_joins::RemoteJoins;
use template::TemplateRequest;

use crate::membership::remote_joins::Withdrawal;
use crate::peers::{Handshake, RawPdu};
use crate::receive::{
    Deadline, PduReceiver, ReceiveError, ReceivedState, RemoteSource, fetch_auth_events, receive_state,
};

/// How many events of a state are stored in one transaction; a larger state is stored in steps.
const MAX_STATE_AT_ONCE: usize = 2_000;
/// How many servers are tried in turn.
const MAX_SERVERS: usize = 10;

/// Changes memberships through other servers.
pub struct RemoteMembershipChanger {
    rooms: Arc<Rooms>,
    receiver: Arc<PduReceiver>,
    joins: Arc<RemoteJoins>,
}

/// One change of membership through other servers.
#[derive(Clone)]
struct RemoteChange {
    rooms: Arc<Rooms>,
    receiver: Arc<PduReceiver>,
    joins: Arc<RemoteJoins>,
    /// The room, if this server is in it.
    joined_room: Option<Arc<Room>>,
}

impl RemoteMembershipChanger {
    /// Returns a changer of memberships in the rooms of `receiver`.
    #[must_use]
    pub fn new(receiver: Arc<PduReceiver>) -> Self {
        Self { rooms: Arc::clone(&receiver.rooms), receiver, joins: Arc::default() }
    }

    fn remote(&self, room: Option<&Arc<Room>>) -> RemoteChange {
        let (rooms, receiver, joins) = (Arc::clone(&self.rooms), Arc::clone(&self.receiver), Arc::clone(&self.joins));
        RemoteChange { rooms, receiver, joins, joined_room: room.map(Arc::clone) }
    }

    async fn withdraw(&self, change: &MembershipChange) -> Result<Option<Sent>, MembershipError> {
        let mut joins = self.joins.of(&change.room_id, &change.target).await;
        match self.remote(None).withdraw_join(change, &mut joins).await {
            Withdrawal::Left(event_id) => Ok(Some(Sent { event_id, position: None })),
            Withdrawal::NotNeeded => Ok(None),
            Withdrawal::Failed(error) => Err(error),
        }
    }
}

impl RemoteMemberships for RemoteMembershipChanger {
    fn join<'a>(
        &'a self,
        change: &'a MembershipChange,
        via: Via<'a>,
        decided: Object,
    ) -> BoxFuture<'a, Result<Sent, MembershipError>> {
        Box::pin(self.remote(via.room).join(change, via.servers, decided))
    }

    fn knock<'a>(
        &'a self,
        change: &'a MembershipChange,
        servers: &'a [ServerName],
    ) -> BoxFuture<'a, Result<Sent, MembershipError>> {
        let remote = self.remote(None);
        Box::pin(async move { remote.knock(change, servers).await })
    }

    fn leave<'a>(
        &'a self,
        room: &'a Arc<Room>,
        change: &'a MembershipChange,
        servers: &'a [ServerName],
    ) -> BoxFuture<'a, Result<Sent, MembershipError>> {
        let remote = self.remote(None);
        Box::pin(async move { remote.leave(room, change, servers).await })
    }

    fn withdraw_join<'a>(
        &'a self,
        change: &'a MembershipChange,
    ) -> BoxFuture<'a, Result<Option<Sent>, MembershipError>> {
        Box::pin(self.withdraw(change))
    }

    fn room_complexity<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
    ) -> BoxFuture<'a, Result<f64, PeerError>> {
        self.receiver.peers.room_complexity(server, room)
    }

    fn profile<'a>(&'a self, server: &'a ServerName, user: &'a UserId) -> BoxFuture<'a, Object> {
        Box::pin(invite::remote_profile(&*self.receiver.peers, server, user))
    }

    fn sign_invite<'a>(
        &'a self,
        room: &'a Room,
        server: &'a ServerName,
        invite: &'a Pdu,
    ) -> BoxFuture<'a, Result<Pdu, MembershipError>> {
        Box::pin(invite::signed(&self.receiver, room, server, invite))
    }

    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        invite: Object,
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        self.receiver.peers.exchange_third_party_invite(server, room, invite)
    }

    fn identity_key_is_valid<'a>(
        &'a self,
        key_validity_url: &'a str,
        public_key: &'a str,
    ) -> BoxFuture<'a, Result<bool, PeerError>> {
        self.receiver.peers.identity_key_is_valid(self.receiver.writer.server_name(), key_validity_url, public_key)
    }
}

/// An event made from a template, signed.
struct SignedEvent {
    version: RoomVersion,
    pdu: Pdu,
}

impl RemoteChange {
    /// Joins `change.target` through the first of `servers` that accepts the join. It continues when the client stops
    /// waiting, since joining a large room takes long; a repeated request finds the user in the room. `decided` is the
    /// part of the content that this server determines.
    pub(crate) async fn join(
        self,
        change: &MembershipChange,
        servers: &[ServerName],
        decided: Object,
    ) -> Result<Sent, MembershipError> {
        let (change, servers) = (change.clone(), servers.to_vec());
        let background = self.receiver.background.clone();
        let joining = background.spawn("join through another server", async move {
            let mut joins = self.joins.of(&change.room_id, &change.target).await;
            joins.count += 1;
            if let Some(event_id) = self.existing_join(&change).await? {
                return Ok(Sent { event_id, position: None });
            }
            let known = self.rooms.get(&change.room_id).await?;
            let is_first = known.is_none_or(|room| successor::is_first_join(&room, &change.target));
            let joined = self.join_by_any(&change, &servers, &decided, &mut joins.accepted_by).await;
            match &joined {
                Ok(_) => {
                    joins.accepted_by.clear();
                    self.follow_upgrade(&change, is_first).await;
                }
                Err(_) => self.withdraw_failed_join(change, &mut joins).await,
            }
            joined
        });
        joining.await.unwrap_or(Err(MembershipError::NoServer))
    }

    /// Completes a room upgrade after the user has joined the replacement room: aliases, push rules and the like are
    /// copied. Failures are ignored: the user is in the room.
    async fn follow_upgrade(&self, change: &MembershipChange, is_first: bool) {
        let Ok(Some(room)) = self.rooms.get(&change.room_id).await else { return };
        if self.joined_room.is_none() {
            successor::entered(&self.rooms, &room).await;
        }
        if is_first {
            successor::joined(&self.rooms, &room, &change.target).await;
        }
    }

    /// Returns the user's join if another request has made it while this one waited.
    async fn existing_join(&self, change: &MembershipChange) -> Result<Option<EventId>, MembershipError> {
        let Some(room) = self.rooms.get(&change.room_id).await? else { return Ok(None) };
        let view = room.view();
        let member = view.state.get("m.room.member", change.target.as_str());
        let Some(join) = member.filter(|entry| entry.membership == Some(Membership::Join)) else { return Ok(None) };
        Ok(Some(room.state_event(join).await?.pdu.event_id().clone()))
    }

    /// Joins through one server after the other. Servers that may have accepted the join are added to `accepted_by`.
    async fn join_by_any(
        &self,
        change: &MembershipChange,
        servers: &[ServerName],
        decided: &Object,
        accepted_by: &mut Vec<ServerName>,
    ) -> Result<Sent, MembershipError> {
        let mut last = MembershipError::NoServer;
        for server in servers.iter().take(MAX_SERVERS) {
            match self.join_via(change, server, decided, accepted_by).await {
                Ok(sent) => return Ok(sent),
                Err(error) => {
                    tracing::info!(room = %change.room_id, "joining through {server} failed: {error}");
                    last = more_informative(last, error);
                }
            }
        }
        Err(last)
    }

    async fn join_via(
        &self,
        change: &MembershipChange,
        server: &ServerName,
        decided: &Object,
        accepted_by: &mut Vec<ServerName>,
    ) -> Result<Sent, MembershipError> {
        let signed = self.signed_event(change, server, Handshake::Join, decided).await?;
        let omit_members = self.may_omit_members(change).await?;
        let response = self.receiver.peers.send_join(server, &signed.pdu, omit_members).await;
        if response.as_ref().err().is_none_or(PeerError::may_have_succeeded) && !accepted_by.contains(server) {
            accepted_by.push(server.clone());
        }
        let mut parts = response?;
        let room = out_of_band::known_or_new(&self.receiver.writer, &change.room_id, signed.version).await?;
        let mut received = receive_state(&self.receiver, &room, &mut *parts).await?;
        let join = self.joined_event(server, &signed.pdu, received.join.take()).await?;
        let event_id = join.event_id().clone();
        // The auth events of the join are in the state, in the auth chain, or have to be fetched.
        let deadline = Deadline::of_request(&self.receiver.clock);
        let source = RemoteSource { receiver: &self.receiver, room: &room, server, deadline: &deadline };
        fetch_auth_events(&source, std::slice::from_ref(&join)).await?;
        let entering = room.entering.lock().await;
        let view = room.view();
        let accepted = if view.local_joined.is_empty() {
            self.enter(&room, &join, server, received).await?
        } else if view.is_partial() {
            graph::add_join_to_partial_room(&self.receiver.writer, &room, &join).await?
        } else {
            drop(entering);
            // This server is in the room: the other one was only needed to authorize the join.
            self.receiver.accept(server, &room, join).await?
        };
        match accepted {
            AddOutcome::InTimeline(position) => Ok(Sent { event_id, position: Some(position) }),
            AddOutcome::AlreadyAdded => Ok(Sent { event_id, position: None }),
            AddOutcome::SoftFailed | AddOutcome::Rejected => {
                Err(malformed(server, "the state it returned does not allow the join"))
            }
        }
    }

    /// Whether the room can be entered with partial state: this server has no events of the room that the state must
    /// agree with.
    async fn may_omit_members(&self, change: &MembershipChange) -> Result<bool, MembershipError> {
        let Some(room) = self.rooms.get(&change.room_id).await? else { return Ok(true) };
        let view = room.view();
        let own_only = || view.state.iter().all(|entry| &*entry.state_key == change.target.as_str());
        Ok(!view.local_joined.is_empty() || (view.tip.extremities.is_empty() && own_only()))
    }

    /// Enters the room with the returned state. If that is large or partial, this first enters with the events that the
    /// user needs, so that neither the user nor other rooms wait long.
    async fn enter(
        &self,
        room: &Arc<Room>,
        join: &Pdu,
        server: &ServerName,
        received: ReceivedState,
    ) -> Result<AddOutcome, MembershipError> {
        let ReceivedState { state, mut first, members_omitted, servers, .. } = received;
        first.extend(auth_entries(&state, join));
        let small = state.len() <= MAX_STATE_AT_ONCE;
        let nids = |state: &[Arc<StateEntry>]| state.iter().map(|entry| entry.nid).collect::<Vec<_>>();
        if small && !members_omitted {
            return Ok(graph::add_join(&self.receiver.writer, room, join, nids(&state), None).await?);
        }
        let partial = PartialJoinState { resident: server.clone(), servers, is_stored: small };
        let accepted = graph::add_join(
            &self.receiver.writer,
            room,
            join,
            if small { nids(&state) } else { first },
            Some(&partial),
        )
        .await?;
        if !matches!(accepted, AddOutcome::InTimeline(_)) {
            return Ok(accepted);
        }
        let (receiver, room) = (Arc::clone(&self.receiver), Arc::clone(room));
        // The user is in the room and may send events: the request to join is complete.
        self.receiver.background.spawn_abortable("state of a joined room", async move {
            if !small
                && let Err(error) = partial_state::add_state(&receiver.writer, &room, &state, !members_omitted).await
            {
                tracing::warn!(room = %room.id, "the state of a joined room could not be stored: {error}");
            }
            // The resync fetches the rest, if anything is missing.
            receiver.joined_partially.notify_waiters();
        });
        Ok(accepted)
    }

    /// Returns the join; a restricted join is returned with the signature of the authorizing user's server. Nothing
    /// else of the returned event is used.
    async fn joined_event(
        &self,
        server: &ServerName,
        ours: &Pdu,
        theirs: Option<RawPdu>,
    ) -> Result<Pdu, MembershipError> {
        if sign::required_servers(ours).len() < 2 {
            return Ok(ours.clone());
        }
        let theirs = match theirs.map(|theirs| Pdu::parse_remote(theirs.get(), ours.room_version())) {
            Some(Err(error @ PduError::TooLarge(_))) => return Err(ReceiveError::from(error).into()),
            theirs => theirs.and_then(Result::ok).ok_or(MembershipError::UnableToGrantJoin)?,
        };
        let signed = sign::with_signatures_of(ours, &theirs, server.as_str()).map_err(ReceiveError::from)?;
        let signed = signed.ok_or(MembershipError::UnableToGrantJoin)?;
        let verified = self.receiver.verifier.verify(vec![signed]).await.pop();
        verified.and_then(Result::ok).ok_or(MembershipError::UnableToGrantJoin)
    }

    /// Knocks for `change.target` through the first of `servers` that accepts the knock.
    pub(crate) async fn knock(
        &self,
        change: &MembershipChange,
        servers: &[ServerName],
    ) -> Result<Sent, MembershipError> {
        let mut last = MembershipError::NoServer;
        for server in servers.iter().take(MAX_SERVERS) {
            match self.knock_via(change, server).await {
                Ok(sent) => return Ok(sent),
                Err(error) => last = more_informative(last, error),
            }
        }
        Err(last)
    }

    async fn knock_via(&self, change: &MembershipChange, server: &ServerName) -> Result<Sent, MembershipError> {
        let signed = self.signed_event(change, server, Handshake::Knock, &Object::new()).await?;
        let stripped = self.receiver.peers.send_knock(server, &signed.pdu).await?;
        let room = out_of_band::known_or_new(&self.receiver.writer, &change.room_id, signed.version).await?;
        // The server has accepted the knock, which must not be lost if the stripped state is too large.
        let knock = StrippedState::fitting(&stripped).attach_to(&signed.pdu, "knock_room_state");
        out_of_band::set_membership(&self.receiver.writer, &room, &knock).await?;
        Ok(Sent { event_id: knock.event_id().clone(), position: None })
    }

    /// Rejects an invite or withdraws a knock of `change.target`. If no server accepts the leave, it is stored only
    /// here: an invite from a server that is gone must not stay for ever.
    pub(crate) async fn leave(
        &self,
        room: &Arc<Room>,
        change: &MembershipChange,
        servers: &[ServerName],
    ) -> Result<Sent, MembershipError> {
        for server in servers.iter().take(MAX_SERVERS) {
            match self.leave_via(change, server).await {
                Ok(leave) => {
                    out_of_band::set_membership(&self.receiver.writer, room, &leave).await?;
                    return Ok(Sent { event_id: leave.event_id().clone(), position: None });
                }
                Err(error) => tracing::info!(room = %room.id, "leaving through {server} failed: {error}"),
            }
        }
        let leave = self.local_leave(room, change)?;
        out_of_band::set_membership(&self.receiver.writer, room, &leave).await?;
        Ok(Sent { event_id: leave.event_id().clone(), position: None })
    }

    async fn leave_via(&self, change: &MembershipChange, server: &ServerName) -> Result<Pdu, MembershipError> {
        let signed = self.signed_event(change, server, Handshake::Leave, &Object::new()).await?;
        self.receiver.peers.send_leave(server, &signed.pdu).await?;
        Ok(signed.pdu)
    }

    /// Makes a leave event that is not sent to other servers.
    fn local_leave(&self, room: &Room, change: &MembershipChange) -> Result<Pdu, MembershipError> {
        let invite =
            room.view().state.get("m.room.member", change.target.as_str()).and_then(|entry| entry.pdu_in_memory());
        let before: Vec<_> = invite.iter().map(|pdu| pdu.event_id().clone()).collect();
        let pdu = PduBuilder {
            room_id: Some(room.id.clone()),
            sender: change.target.clone(),
            event_type: "m.room.member".to_owned(),
            state_key: Some(change.target.to_string()),
            content: change.member_content(Object::from([("membership", "leave")]), &Object::new())?,
            unsigned: None,
            redacts: None,
            prev_events: before.clone(),
            auth_events: before,
            depth: invite.map_or(1, |pdu| pdu.depth().saturating_add(1)),
            origin_server_ts: change.origin_server_ts.unwrap_or_else(|| self.receiver.clock.now_ms()),
        };
        Ok(pdu.build(room.version, &self.receiver.signing_key, self.rooms.server_name()).map_err(SendError::from)?)
    }

    /// Fetches a template of the change from `server`, completes and signs it. `decided` is the part of the content
    /// that this server determines.
    async fn signed_event(
        &self,
        change: &MembershipChange,
        server: &ServerName,
        handshake: Handshake,
        decided: &Object,
    ) -> Result<SignedEvent, MembershipError> {
        let (rooms, user) = (&self.rooms, &change.target);
        let template = self.receiver.peers.template(server, &change.room_id, user, handshake).await?;
        let (room_id, own, joined_room) = (&change.room_id, rooms.server_name(), self.joined_room.as_deref());
        let checked =
            template::check(&template, &TemplateRequest { room_id, user, handshake, server, own, joined_room });
        let checked = checked.map_err(|problem| malformed(server, &problem.to_string()))?;
        let named = (handshake != Handshake::Leave).then_some(user);
        let profile = profile::member_content(rooms, handshake.as_str(), named).await?;
        let mut decided = decided.clone();
        if let Some(authoriser) = &checked.authoriser {
            decided.insert("join_authorised_via_users_server", authoriser.as_str());
        }
        let event = PduBuilder {
            room_id: Some(change.room_id.clone()),
            sender: user.clone(),
            event_type: "m.room.member".to_owned(),
            state_key: Some(user.to_string()),
            content: change.member_content(profile, &decided)?,
            unsigned: None,
            redacts: None,
            prev_events: checked.prev_events,
            auth_events: checked.auth_events,
            depth: checked.depth,
            origin_server_ts: change.origin_server_ts.unwrap_or_else(|| self.receiver.clock.now_ms()),
        };
        let pdu = event.build(checked.version, &self.receiver.signing_key, rooms.server_name());
        Ok(SignedEvent { version: checked.version, pdu: pdu.map_err(SendError::from)? })
    }
}

/// Returns the entries of a state that authorize an event
/// (<https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection>).
fn auth_entries(state: &[Arc<StateEntry>], pdu: &Pdu) -> impl Iterator<Item = EventNid> {
    let keys = auth_types::auth_event_keys(pdu.rules(), pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
    let decides = move |entry: &&Arc<StateEntry>| {
        keys.iter().any(|(event_type, key)| **event_type == *entry.event_type && **key == *entry.state_key)
    };
    state.iter().filter(decides).map(|entry| entry.nid)
}

/// Returns the more informative of two failures: a refusal rather than a missing response.
fn more_informative(before: MembershipError, now: MembershipError) -> MembershipError {
    match (&before, &now) {
        (MembershipError::Remote(PeerError::Refused { .. }), MembershipError::Remote(error))
            if !matches!(error, PeerError::Refused { .. }) =>
        {
            before
        }
        _ => now,
    }
}

fn malformed(server: &ServerName, problem: &str) -> MembershipError {
    MembershipError::Remote(PeerError::malformed(server, problem))
}
