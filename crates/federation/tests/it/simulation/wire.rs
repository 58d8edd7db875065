//! What a simulated server asks of the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_federation::peers::{
    EventTemplate, Handshake, MissingEventsRequest, NearestEvent, PeerResponse, Peers, RawPdu, StateIds, StatePart,
    StateParts,
};
use plexus_federation::serve;
use plexus_net::federation::WantedKey;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::KnownKey;
use plexus_protocol::id::{EventId, RoomAlias, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::timeline::Direction;
use plexus_rooms::{PeerError, PolicyServers, RemoteAliases};
use serde_json::value::RawValue;

use super::network::Network;

/// A server's way to the others.
pub struct Wire {
    own: ServerName,
    network: Arc<Network>,
}

impl Wire {
    pub fn new(own: ServerName, network: Arc<Network>) -> Self {
        Self { own, network }
    }

    fn refused(&self, server: &ServerName, error: impl std::fmt::Display) -> PeerError {
        PeerError::malformed(server, error.to_string())
    }
}

impl PolicyServers for Wire {
    fn policy_signature<'a>(&'a self, server: &'a ServerName, _pdu: &'a Pdu) -> PeerResponse<'a, Object> {
        Box::pin(async move { Err(PeerError::NotAllowed(server.clone())) })
    }
}

impl RemoteAliases for Wire {
    fn room_of_alias<'a>(&'a self, server: &'a ServerName, _: &'a RoomAlias) -> PeerResponse<'a, RoomId> {
        Box::pin(async move { Err(self.refused(server, "there are no aliases here")) })
    }
}

impl Peers for Wire {
    fn event<'a>(&'a self, server: &'a ServerName, event: &'a EventId) -> PeerResponse<'a, RawPdu> {
        Box::pin(async move {
            let there = self.network.reaches(&self.own, server)?;
            let found = serve::event(&there.rooms, &self.own, event).await;
            found.map(raw).map_err(|error| self.refused(server, error))
        })
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        query: MissingEventsRequest,
    ) -> PeerResponse<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let there = self.network.reaches(&self.own, server)?;
            let found = serve::missing_events(&there.rooms, &self.own, room, query).await;
            found.map(raws).map_err(|error| self.refused(server, error))
        })
    }

    fn backfill<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        events: &'a [EventId],
        limit: u32,
    ) -> PeerResponse<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let there = self.network.reaches(&self.own, server)?;
            let found = serve::backfill(&there.rooms, &self.own, room, events.to_vec(), limit as usize).await;
            found.map(raws).map_err(|error| self.refused(server, error))
        })
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, StateIds> {
        Box::pin(async move {
            let there = self.network.reaches(&self.own, server)?;
            let found = serve::state_ids_before(&there.rooms, &self.own, room, event).await;
            found.map_err(|error| self.refused(server, error))
        })
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, Box<dyn StateParts>> {
        Box::pin(async move {
            let panics = &self.network.faults.state_panics;
            if panics.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                panic!("a test");
            }
            let there = self.network.reaches(&self.own, server)?;
            let found = serve::state_before(&there.rooms, &self.own, room, event).await;
            let (room, found) = found.map_err(|error| self.refused(server, error))?;
            let state = serve::pdus(&room, &found.state).await.unwrap();
            let auth_chain = serve::pdus(&room, &found.auth_chain).await.unwrap();
            Ok(parts(state, auth_chain))
        })
    }

    fn event_auth<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let there = self.network.reaches(&self.own, server)?;
            let found = serve::auth_chain(&there.rooms, &self.own, room, event).await;
            let (room, chain) = found.map_err(|error| self.refused(server, error))?;
            Ok(raws(serve::pdus(&room, &chain).await.unwrap()))
        })
    }

    fn template<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        user: &'a UserId,
        handshake: Handshake,
    ) -> PeerResponse<'a, EventTemplate> {
        Box::pin(async move {
            let there = self.network.reaches(&self.own, server)?;
            assert_eq!(handshake, Handshake::Join, "nobody does anything else from outside");
            let versions: Vec<String> = (1..=12).map(|version| version.to_string()).collect();
            let made = serve::make_join(&there.receiver, &self.own, room, user, &versions).await;
            made.map_err(|error| self.refused(server, error))
        })
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        join: &'a Pdu,
        may_omit: bool,
    ) -> PeerResponse<'a, Box<dyn StateParts>> {
        Box::pin(async move {
            let there = self.network.reaches(&self.own, server)?;
            let sent = serve::SentMembership {
                origin: &self.own,
                room_id: join.room_id(),
                event_id: join.event_id(),
                json: join.json(),
            };
            let accepted = serve::send_join(&there.receiver, sent).await;
            let accepted = accepted.map_err(|error| self.refused(server, error))?;
            let omits = may_omit && self.network.faults.omits_members.load(SeqCst);
            let before = serve::joined_state(&accepted.room, &accepted.pdu, omits).await;
            let before = before.map_err(|error| self.refused(server, error))?;
            let state = serve::pdus(&accepted.room, &before.state).await.unwrap();
            let auth_chain = serve::pdus(&accepted.room, &before.auth_chain).await.unwrap();
            if !omits {
                return Ok(parts(state, auth_chain));
            }
            let mut parts = vec![StatePart::MembersOmitted, StatePart::Servers(vec![server.clone(), self.own.clone()])];
            parts.extend([StatePart::State(raws(state)), StatePart::AuthChain(raws(auth_chain))]);
            Ok(Box::new(parts.into_iter()) as Box<dyn StateParts>)
        })
    }

    fn send_knock<'a>(&'a self, server: &'a ServerName, _: &'a Pdu) -> PeerResponse<'a, Vec<RawPdu>> {
        Box::pin(async move { Err(self.refused(server, "nobody knocks here")) })
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, _: &'a Pdu) -> PeerResponse<'a, ()> {
        Box::pin(async move { Err(self.refused(server, "nobody declines here")) })
    }

    fn profile<'a>(&'a self, server: &'a ServerName, _: &'a UserId, _: Duration) -> PeerResponse<'a, Object> {
        Box::pin(async move { Err(self.refused(server, "nobody invites here")) })
    }

    fn timestamp_to_event<'a>(
        &'a self,
        server: &'a ServerName,
        _: &'a RoomId,
        _: u64,
        _: Direction,
    ) -> PeerResponse<'a, NearestEvent> {
        Box::pin(async move { Err(self.refused(server, "nobody looks for a time here")) })
    }

    fn invite<'a>(&'a self, server: &'a ServerName, _: &'a Pdu, _: Vec<RawPdu>) -> PeerResponse<'a, RawPdu> {
        Box::pin(async move { Err(self.refused(server, "nobody invites here")) })
    }

    fn room_complexity<'a>(&'a self, server: &'a ServerName, _: &'a RoomId) -> PeerResponse<'a, f64> {
        Box::pin(async move { Err(self.refused(server, "complexity is not reported here")) })
    }

    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        _room: &'a RoomId,
        _invite: Object,
    ) -> PeerResponse<'a, ()> {
        Box::pin(async move { Err(PeerError::NotAllowed(server.clone())) })
    }

    fn identity_key_is_valid<'a>(
        &'a self,
        _named_by: &'a ServerName,
        _key_validity_url: &'a str,
        _public_key: &'a str,
    ) -> PeerResponse<'a, bool> {
        Box::pin(async { Ok(true) })
    }

    fn keys(&self, wanted: Vec<WantedKey>) -> BoxFuture<'_, HashMap<(String, String), KnownKey>> {
        Box::pin(async move {
            let faults = &self.network.faults;
            if faults.keys_hang.load(SeqCst) {
                faults.hanging.fetch_add(1, SeqCst);
                std::future::pending::<()>().await;
            }
            let key = |wanted: &WantedKey| {
                let server = self.network.servers().iter().find(|server| server.name.as_str() == wanted.server)?;
                let known = KnownKey { key: server.key.public_key(), valid_until_ts: u64::MAX };
                (server.key.key_id() == wanted.key_id).then_some(known)
            };
            let found = wanted.iter().filter_map(|it| Some(((it.server.clone(), it.key_id.clone()), key(it)?)));
            found.collect()
        })
    }
}

pub fn raw(json: String) -> RawPdu {
    RawValue::from_string(json).unwrap()
}

fn parts(state: Vec<String>, auth_chain: Vec<String>) -> Box<dyn StateParts> {
    Box::new(vec![StatePart::State(raws(state)), StatePart::AuthChain(raws(auth_chain))].into_iter())
}

fn raws(json: Vec<String>) -> Vec<RawPdu> {
    json.into_iter().map(raw).collect()
}
