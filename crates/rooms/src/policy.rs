//! Rooms whose events a policy server has to recommend (server-server API, "Policy Servers").

use std::sync::Arc;

use futures_util::future;
use plexus_protocol::event::Pdu;
use plexus_protocol::policy::PolicyServer;

use crate::model::current_state::CurrentState;
use crate::model::registry::Rooms;
use crate::model::room::Room;
use crate::peers::PeerError;
use crate::write::build::{Built, Draft, Sent};
use crate::write::error::SendError;

impl CurrentState {
    /// The server that has to recommend events of such a kind.
    pub(crate) fn policy_server(&self, event_type: &str, state_key: Option<&str>) -> Option<PolicyServer> {
        let policy =
            self.event_in_memory("m.room.policy", "").filter(|_| PolicyServer::is_about(event_type, state_key))?;
        PolicyServer::of(policy.content()).filter(|server| self.servers.contains(server.via.as_str()))
    }
}

impl Rooms {
    /// Sends an event that the policy server has to recommend first. The room may change meanwhile: the event then stands
    /// beside what others have sent.
    pub(crate) async fn append_recommended(
        &self,
        room: &Arc<Room>,
        draft: &Draft,
        policy: &PolicyServer,
    ) -> Result<Sent, SendError> {
        let pdu = match self.build_on_head(room, draft).await? {
            Built::Event(pending, _) => pending.pdu,
            Built::Unchanged(event_id) => return Ok(Sent { event_id, position: None }),
        };
        let pdu = self.recommended(policy, &pdu).await.map_err(Box::new).map_err(SendError::Policy)?;
        self.send_built(room, &pdu, draft.transaction.as_ref()).await
    }

    /// An event of this server with the recommendation of the room's policy server, if it has one.
    pub(crate) async fn recommended_here(&self, room: &Room, pdu: Pdu) -> Result<Pdu, SendError> {
        match room.view().policy_server(pdu.event_type(), pdu.state_key()) {
            Some(policy) => self.recommended(&policy, &pdu).await.map_err(Box::new).map_err(SendError::Policy),
            None => Ok(pdu),
        }
    }

    /// Events of other servers, with the recommendation of the room's policy server where it had to be asked for and was given.
    pub(crate) async fn with_recommendations(&self, room: &Room, pdus: Vec<Pdu>) -> Vec<Pdu> {
        let view = room.view();
        let recommended = pdus.into_iter().map(async |pdu| {
            let policy = view.policy_server(pdu.event_type(), pdu.state_key());
            let Some(policy) = policy.filter(|policy| !policy.recommends(&pdu)) else { return pdu };
            self.recommended(&policy, &pdu).await.unwrap_or_else(|error| {
                tracing::info!(event = %pdu.event_id(), room = %room.id, "not recommended: {error}");
                pdu
            })
        });
        future::join_all(recommended).await
    }

    /// Whether the room's policy server has to be asked about an event.
    pub(crate) fn needs_recommendation(&self, room: &Room, pdu: &Pdu) -> bool {
        let policy = room.view().policy_server(pdu.event_type(), pdu.state_key());
        policy.is_some_and(|policy| !policy.recommends(pdu))
    }

    async fn recommended(&self, policy: &PolicyServer, pdu: &Pdu) -> Result<Pdu, PeerError> {
        let peers = self.peers.as_ref().ok_or_else(|| PeerError::NotAllowed(policy.via.clone()))?;
        let answered = peers.policy_signature(&policy.via, pdu).await?;
        let recommended = policy.recommended(pdu, &answered);
        recommended.ok_or_else(|| PeerError::malformed(&policy.via, "it is not signed with the policy server's key"))
    }
}
