//! Requests to other servers over the network.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_net::federation::api::event::{self, get_event_by_timestamp};
use plexus_net::federation::api::membership::{self, create_join_event};
use plexus_net::federation::api::{authorization, backfill, policy, query, room, thirdparty};
use plexus_net::federation::{FederationClient, KeyRing, WantedKey};
use plexus_net::{Purpose, percent_encode};
use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::KnownKey;
use plexus_protocol::id::{EventId, RoomAlias, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::model::direction::Direction;
use plexus_rooms::{PeerError, PolicyServers, RemoteAliases};
use serde::Deserialize;

use super::error::peer_error;
use super::remote_state::RemoteState;
use super::{
    EventTemplate, Handshake, MissingEventsRequest, NearestEvent, PeerResponse, Peers, RawPdu, StateIds, StateParts,
};

/// [`Peers`] by the server-server API.
pub struct FederationPeers {
    client: Arc<FederationClient>,
    keys: Arc<KeyRing>,
}

impl FederationPeers {
    /// Returns peers that are reached by `client` and whose signing keys are in `keys`.
    #[must_use]
    pub fn new(client: Arc<FederationClient>, keys: Arc<KeyRing>) -> Self {
        Self { client, keys }
    }
}

#[derive(Deserialize)]
struct Validity {
    valid: bool,
}

impl PolicyServers for FederationPeers {
    fn policy_signature<'a>(&'a self, server: &'a ServerName, pdu: &'a Pdu) -> PeerResponse<'a, Object> {
        Box::pin(async move { policy::sign_event::call(&self.client, server, pdu).await.map_err(peer_error) })
    }
}

impl RemoteAliases for FederationPeers {
    fn room_of_alias<'a>(&'a self, server: &'a ServerName, alias: &'a RoomAlias) -> PeerResponse<'a, RoomId> {
        Box::pin(async move {
            Ok(query::get_room_information::call(&self.client, server, alias).await.map_err(peer_error)?.room_id)
        })
    }
}

impl Peers for FederationPeers {
    fn event<'a>(&'a self, server: &'a ServerName, event: &'a EventId) -> PeerResponse<'a, RawPdu> {
        Box::pin(async move { event::get_event::call(&self.client, server, event).await.map_err(peer_error) })
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        query: MissingEventsRequest,
    ) -> PeerResponse<'a, Vec<RawPdu>> {
        Box::pin(async move {
            let request = event::get_missing_events::Request {
                earliest_events: &query.earliest,
                latest_events: &query.latest,
                limit: query.limit,
                min_depth: query.min_depth,
            };
            event::get_missing_events::call(&self.client, server, room, &request).await.map_err(peer_error)
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
            backfill::get_backfill::call(&self.client, server, room, events, limit).await.map_err(peer_error)
        })
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, StateIds> {
        Box::pin(async move {
            let response =
                event::get_room_state_ids::call(&self.client, server, room, event).await.map_err(peer_error)?;
            Ok(StateIds { state: response.pdu_ids, auth_chain: response.auth_chain_ids })
        })
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, Box<dyn StateParts>> {
        Box::pin(async move {
            let response = event::get_room_state::call(&self.client, server, room, event).await.map_err(peer_error)?;
            Ok(Box::new(RemoteState::new(server.clone(), response)) as Box<dyn StateParts>)
        })
    }

    fn event_auth<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        event: &'a EventId,
    ) -> PeerResponse<'a, Vec<RawPdu>> {
        Box::pin(async move {
            authorization::get_event_authorization::call(&self.client, server, room, event).await.map_err(peer_error)
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
            let response = match handshake {
                Handshake::Join => membership::prepare_join_event::call(&self.client, server, room, user).await,
                Handshake::Knock => membership::prepare_knock_event::call(&self.client, server, room, user).await,
                Handshake::Leave => membership::prepare_leave_event::call(&self.client, server, room, user).await,
            };
            let response = response.map_err(peer_error)?;
            let malformed = |problem: String| PeerError::malformed(server, problem);
            // Servers older than room versions do not name one.
            let version = response.room_version.as_deref().unwrap_or("1");
            let room_version = version.parse().map_err(|_| malformed(format!("room version {version:?}")))?;
            let event = Object::parse(response.event.get()).map_err(|error| malformed(error.to_string()))?;
            Ok(EventTemplate { room_version, event })
        })
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        join: &'a Pdu,
        omit_members: bool,
    ) -> PeerResponse<'a, Box<dyn StateParts>> {
        Box::pin(async move {
            let state =
                match create_join_event::call(&self.client, server, join, omit_members).await.map_err(peer_error)? {
                    create_join_event::Response::V1(response) => RemoteState::with_status(server.clone(), response),
                    create_join_event::Response::V2(response) => RemoteState::new(server.clone(), response),
                };
            Ok(Box::new(state) as Box<dyn StateParts>)
        })
    }

    fn send_knock<'a>(&'a self, server: &'a ServerName, knock: &'a Pdu) -> PeerResponse<'a, Vec<RawPdu>> {
        Box::pin(
            async move { membership::create_knock_event::call(&self.client, server, knock).await.map_err(peer_error) },
        )
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, leave: &'a Pdu) -> PeerResponse<'a, ()> {
        Box::pin(
            async move { membership::create_leave_event::call(&self.client, server, leave).await.map_err(peer_error) },
        )
    }

    fn invite<'a>(
        &'a self,
        server: &'a ServerName,
        invite: &'a Pdu,
        stripped: Vec<RawPdu>,
    ) -> PeerResponse<'a, RawPdu> {
        Box::pin(async move {
            membership::create_invite::call(&self.client, server, invite, &stripped).await.map_err(peer_error)
        })
    }

    fn profile<'a>(&'a self, server: &'a ServerName, user: &'a UserId, timeout: Duration) -> PeerResponse<'a, Object> {
        Box::pin(async move {
            query::get_profile_information::call_in_background(&self.client, server, user, timeout)
                .await
                .map_err(peer_error)
        })
    }

    fn timestamp_to_event<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        ts: u64,
        direction: Direction,
    ) -> PeerResponse<'a, NearestEvent> {
        Box::pin(async move {
            let direction = match direction {
                Direction::Backward => get_event_by_timestamp::Direction::Backward,
                Direction::Forward => get_event_by_timestamp::Direction::Forward,
            };
            let response =
                get_event_by_timestamp::call(&self.client, server, room, ts, direction).await.map_err(peer_error)?;
            Ok(NearestEvent { event_id: response.event_id, origin_server_ts: response.origin_server_ts })
        })
    }

    fn room_complexity<'a>(&'a self, server: &'a ServerName, room: &'a RoomId) -> PeerResponse<'a, f64> {
        Box::pin(async move {
            let response = room::get_room_complexity::call(&self.client, server, room).await;
            Ok(response.map_err(peer_error)?.v1)
        })
    }

    fn exchange_third_party_invite<'a>(
        &'a self,
        server: &'a ServerName,
        room: &'a RoomId,
        invite: Object,
    ) -> PeerResponse<'a, ()> {
        Box::pin(async move {
            thirdparty::exchange_invite::call(&self.client, server, room, &invite).await.map_err(peer_error)
        })
    }

    fn identity_key_is_valid<'a>(
        &'a self,
        named_by: &'a ServerName,
        key_validity_url: &'a str,
        public_key: &'a str,
    ) -> PeerResponse<'a, bool> {
        Box::pin(async move {
            let separator = if key_validity_url.contains('?') { '&' } else { '?' };
            let url = format!("{key_validity_url}{separator}public_key={}", percent_encode(public_key));
            let response = self.client.fetch(Purpose::KeyRevocation, named_by, &url).await.map_err(peer_error)?;
            let validity: Result<Validity, _> =
                serde_json::from_slice(response.whole().await.map_err(peer_error)?.as_ref());
            Ok(validity.is_ok_and(|validity| validity.valid))
        })
    }

    fn keys(&self, wanted: Vec<WantedKey>) -> BoxFuture<'_, HashMap<(String, String), KnownKey>> {
        Box::pin(async move { self.keys.keys(&wanted).await })
    }
}
