//! Rooms whose events a policy server has to sign (<https://spec.matrix.org/v1.19/server-server-api/#policy-servers>).
//! A signed event is called recommended.

use futures_util::future;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::build::BuildError;
use plexus_protocol::id::ServerName;
use plexus_protocol::policy::PolicyServer;

use crate::model::room::Room;
use crate::write::error::SendError;
use crate::write::own_policy::PolicyRefusal;
use crate::write::peer_error::PeerError;
use crate::write::writer::RoomWriter;

/// Returns an event of this server, signed by the room's policy server if it has one.
pub(crate) async fn recommended_here(writer: &RoomWriter, room: &Room, pdu: Pdu) -> Result<Pdu, SendError> {
    match room.view().policy_server(pdu.event_type(), pdu.state_key()) {
        Some(policy) => recommended(writer, room, &policy, &pdu).await,
        None => Ok(pdu),
    }
}

/// Returns events of other servers. Those that the room's policy server has to sign, and has not, are sent to it first.
pub async fn with_recommendations(writer: &RoomWriter, room: &Room, pdus: Vec<Pdu>) -> Vec<Pdu> {
    let view = room.view();
    let recommended = pdus.into_iter().map(async |pdu| {
        let policy = view.policy_server(pdu.event_type(), pdu.state_key());
        let Some(policy) = policy.filter(|policy| !policy.recommends(&pdu)) else { return pdu };
        recommended(writer, room, &policy, &pdu).await.unwrap_or_else(|error| {
            tracing::info!(event = %pdu.event_id(), room = %room.id, "not signed by the policy server: {error}");
            pdu
        })
    });
    future::join_all(recommended).await
}

/// Whether the room's policy server has to be asked about an event.
pub fn needs_recommendation(room: &Room, pdu: &Pdu) -> bool {
    let policy = room.view().policy_server(pdu.event_type(), pdu.state_key());
    policy.is_some_and(|policy| !policy.recommends(pdu))
}

/// Returns an event signed by `policy`.
pub(super) async fn recommended(
    writer: &RoomWriter,
    room: &Room,
    policy: &PolicyServer,
    pdu: &Pdu,
) -> Result<Pdu, SendError> {
    let refused = |error| SendError::Policy(Box::new(error));
    let answered = match writer.own_policy.as_ref().filter(|_| policy.via == writer.server_name) {
        Some(own) => match own.recommend(&writer.rooms, room, pdu).await {
            Err(PolicyRefusal::Db(error)) => return Err(error.into()),
            answered => answered.map_err(|error| refused(refusal(&policy.via, &error)))?,
        },
        None => {
            let servers = writer.policy_servers.as_ref();
            let servers = servers.ok_or_else(|| refused(PeerError::NotAllowed(policy.via.clone())))?;
            servers.policy_signature(&policy.via, pdu).await.map_err(refused)?
        }
    };
    let recommended = policy.recommended(pdu, &answered).map_err(BuildError::Pdu)?;
    let unsigned = || refused(PeerError::malformed(&policy.via, "it is not signed with the policy server's key"));
    recommended.ok_or_else(unsigned)
}

/// Returns the refusal of this server as another server would get it.
fn refusal(server: &ServerName, error: &PolicyRefusal) -> PeerError {
    let (errcode, error) = (Some("M_FORBIDDEN".to_owned()), Some(error.to_string()));
    PeerError::Refused { server: server.clone(), status: 400, errcode, error }
}
