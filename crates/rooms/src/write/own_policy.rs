//! This server as the policy server of rooms (<https://spec.matrix.org/v1.19/server-server-api/#policy-servers>). The
//! rules of a policy room decide what it refuses.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::policy::{self, BanRule, RuleSubject};
use plexus_store::{DbError, EventNid, SnapshotNid, repo};
use tokio::sync::Mutex;

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
    /// Held while they are read.
    rules: Mutex<KnownRules>,
}

/// The rules that have been read.
#[derive(Default)]
struct KnownRules {
    /// The state of the rules room then.
    state: Option<SnapshotNid>,
    /// What each event of that state bans.
    of_events: HashMap<EventNid, Option<Arc<BanRule>>>,
    bans: Arc<[Arc<BanRule>]>,
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
    async fn rules(&self, rooms: &Rooms) -> Result<Arc<[Arc<BanRule>]>, DbError> {
        let Some(room) = rooms.get(&self.rules_room).await? else { return Ok(Arc::default()) };
        let mut known = self.rules.lock().await;
        let view = room.view();
        let state = view.tip.snapshot.nid;
        if known.state == Some(state) {
            return Ok(Arc::clone(&known.bans));
        }
        let read: Vec<EventNid> = known.of_events.keys().copied().collect();
        for redacted in rooms.db.read(move |tx| repo::events::redacted_among(tx, &read)).await? {
            known.of_events.remove(&redacted);
        }
        let (mut of_events, mut bans) = (HashMap::new(), Vec::new());
        'all: for subject in RuleSubject::ALL {
            for entry in view.state.of_type(subject.event_type()) {
                if bans.len() == MAX_RULES {
                    tracing::warn!(room = %room.id, "only {MAX_RULES} rules of the policy room are enforced");
                    break 'all;
                }
                let rule = match known.of_events.get(&entry.nid) {
                    Some(rule) => rule.clone(),
                    None => {
                        let pdu = rooms.readable_entry_pdu(room.version, entry).await?;
                        pdu.and_then(|pdu| BanRule::of(subject, pdu.content())).map(Arc::new)
                    }
                };
                bans.extend(rule.clone());
                of_events.insert(entry.nid, rule);
            }
        }
        let bans: Arc<[Arc<BanRule>]> = bans.into();
        *known = KnownRules { state: Some(state), of_events, bans: Arc::clone(&bans) };
        Ok(bans)
    }
}

/// Whether a user leaves a room, which nobody is kept from, and says nothing else.
fn is_own_leave(pdu: &Pdu) -> bool {
    pdu.is_state("m.room.member", pdu.sender().as_str())
        && Membership::of(pdu) == Some(Membership::Leave)
        && pdu.content().len() == 1
}
