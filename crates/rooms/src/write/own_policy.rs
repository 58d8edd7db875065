//! This server as the policy server of rooms (<https://spec.matrix.org/v1.19/server-server-api/#policy-servers>). The
//! rules of a policy room decide what it refuses.

use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::policy::{self, BanRule, RuleSubject};
use plexus_store::{DbError, SnapshotNid};

use crate::model::room::Room;
use crate::model::rooms::Rooms;

/// The most rules that are looked at: each is compared with every event.
const MAX_RULES: usize = 20_000;

/// Why this server does not sign an event as a policy server.
#[derive(Debug, thiserror::Error)]
pub enum PolicyRefusal {
    /// It is not the policy server of the room.
    #[error("this server is not the policy server of the room")]
    NotPolicyServer,
    /// A rule bans the event.
    #[error("the policies of this server do not allow the event")]
    Banned,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Signs events as a policy server. Its rules in memory are owned by this process; another reads them itself.
pub struct OwnPolicy {
    key: SigningKey,
    server_name: ServerName,
    rules_room: RoomId,
    rules: Mutex<Option<(SnapshotNid, Arc<[BanRule]>)>>,
}

impl OwnPolicy {
    /// Returns the policy server with a server's key and the rules of a room.
    #[must_use]
    pub fn new(server_key: &SigningKey, server_name: ServerName, rules_room: RoomId) -> Self {
        Self { key: policy::signing_key(server_key), server_name, rules_room, rules: Mutex::default() }
    }

    /// Returns the public key that rooms name, in unpadded base64.
    #[must_use]
    pub fn public_key(&self) -> String {
        self.key.public_key_base64()
    }

    /// Returns the signature of an event, as other servers read it.
    ///
    /// # Errors
    /// See [`PolicyRefusal`].
    pub async fn recommend(&self, rooms: &Rooms, room: &Room, pdu: &Pdu) -> Result<Object, PolicyRefusal> {
        let named = room.view().policy_server(pdu.event_type(), pdu.state_key());
        let named = named.filter(|named| named.via == self.server_name).ok_or(PolicyRefusal::NotPolicyServer)?;
        let recommendation = policy::recommendation(pdu, &self.server_name, &self.key);
        // The room may name an older key of this server.
        if !named.recommended(pdu, &recommendation).is_ok_and(|signed| signed.is_some()) {
            return Err(PolicyRefusal::NotPolicyServer);
        }
        if !is_own_leave(pdu) && self.rules(rooms).await?.iter().any(|rule| rule.bans(pdu)) {
            return Err(PolicyRefusal::Banned);
        }
        Ok(recommendation)
    }

    /// Returns the rules that ban. Without the room there are none.
    async fn rules(&self, rooms: &Rooms) -> Result<Arc<[BanRule]>, DbError> {
        let Some(room) = rooms.get(&self.rules_room).await? else { return Ok(Arc::default()) };
        let view = room.view();
        let state = view.tip.snapshot.nid;
        if let Some((known, rules)) = &*self.rules.lock()
            && *known == state
        {
            return Ok(Arc::clone(rules));
        }
        let mut rules = Vec::new();
        for subject in RuleSubject::ALL {
            for entry in view.state.of_type(subject.event_type()).take(MAX_RULES - rules.len()) {
                let rule = rooms.readable_entry_pdu(room.version, entry).await?;
                rules.extend(rule.and_then(|pdu| BanRule::of(subject, pdu.content())));
            }
        }
        let rules: Arc<[BanRule]> = rules.into();
        *self.rules.lock() = Some((state, Arc::clone(&rules)));
        Ok(rules)
    }
}

/// Whether a user leaves a room, which nobody is kept from.
fn is_own_leave(pdu: &Pdu) -> bool {
    pdu.is_state("m.room.member", pdu.sender().as_str()) && Membership::of(pdu) == Some(Membership::Leave)
}
