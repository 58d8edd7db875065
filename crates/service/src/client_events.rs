//! Sending the events of clients, within their rate limits.

use std::sync::Arc;

use plexus_accounts::Requester;
use plexus_base::{LimitExceeded, Random};
use plexus_net::PolicyHooks;
use plexus_protocol::id::EventId;
use plexus_rooms::{EventSender, MembershipChanger, NewEvent, SendError};
use plexus_store::DbError;
use plexus_sync::Presence;

use crate::member_events::{self, MemberEventError, SendingAccount};
use crate::{LocalEchoOrder, ProfileRules, RateLimits, shadow_ban};

/// Sends events that clients ask for: limited, once per transaction id, and noted as activity of the user.
pub struct ClientEventSender {
    parts: ClientEventParts,
}

/// What a [`ClientEventSender`] is made of.
#[expect(missing_docs, reason = "a field has the name of its type")]
pub struct ClientEventParts {
    pub sender: Arc<EventSender>,
    pub members: Arc<MembershipChanger>,
    pub limits: Arc<RateLimits>,
    pub echo_order: Arc<LocalEchoOrder>,
    pub presence: Arc<Presence>,
    pub profile_rules: Arc<ProfileRules>,
    pub random: Random,
    pub policy_hooks: Option<Arc<PolicyHooks>>,
}

/// Why a client's event was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientEventError {
    /// The user sends too much.
    #[error(transparent)]
    Limited(#[from] LimitExceeded),
    /// The room does not take the event.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A member event does not change the membership.
    #[error(transparent)]
    Member(#[from] MemberEventError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ClientEventSender {
    /// Creates the service.
    #[must_use]
    pub fn new(parts: ClientEventParts) -> Self {
        Self { parts }
    }

    /// Returns the event that the same request of the requester's device has sent before, if memory still has it. Check
    /// this before what else the request must fulfil: a repeated request gets its response again in any case.
    pub fn replayed(&self, event: &NewEvent) -> Option<EventId> {
        let transaction = event.transaction.as_ref()?;
        self.parts.sender.replayed(&event.room_id, &event.sender, transaction)
    }

    /// As [`Self::replayed`], also when memory does not have it any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sent_before(&self, event: &NewEvent) -> Result<Option<EventId>, DbError> {
        let Some(transaction) = &event.transaction else { return Ok(None) };
        self.parts.sender.sent_before(&event.room_id, &event.sender, transaction).await
    }

    /// Sends the event of the requester.
    ///
    /// # Errors
    /// See [`ClientEventError`].
    pub async fn send(&self, requester: &Requester, event: NewEvent) -> Result<EventId, ClientEventError> {
        let _response_goes_first = event.transaction.as_ref().and_then(|_| self.parts.echo_order.sending(requester));
        self.send_for(requester.into(), event).await
    }

    /// Sends an event of the account, without a request that waits for it. A member event has the same effect as the
    /// endpoint for that membership.
    ///
    /// # Errors
    /// See [`ClientEventError`].
    pub async fn send_for(&self, account: SendingAccount, event: NewEvent) -> Result<EventId, ClientEventError> {
        let ClientEventParts { sender, members, limits, presence, profile_rules, random, .. } = &self.parts;
        let user = event.sender.clone();
        let is_member_event = event.event_type == "m.room.member" && event.state_key.is_some();
        if account.is_rate_limited && is_member_event {
            limits.message.check(&user)?;
        } else if account.is_rate_limited {
            self.check_limit(&event).await?;
        }
        let event_id = if account.shadow_banned && shadow_ban::withholds(&event) {
            shadow_ban::event_id(random)
        } else if is_member_event {
            member_events::set_membership(members, profile_rules, account, event).await?
        } else {
            self.require_permitted(account, &event).await?;
            sender.send(event).await?.event_id
        };
        presence.active(&user);
        Ok(event_id)
    }

    /// Whether the event redacts an event of its own sender.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redacts_own(&self, event: &NewEvent) -> Result<bool, DbError> {
        self.parts.sender.redacts_own(event).await
    }

    /// Asks the policy hooks whether the account may send a state event. Administrators always may.
    async fn require_permitted(&self, account: SendingAccount, event: &NewEvent) -> Result<(), SendError> {
        let (Some(hooks), Some(state_key), false) = (&self.parts.policy_hooks, &event.state_key, account.is_admin)
        else {
            return Ok(());
        };
        let NewEvent { sender, room_id, event_type, content, .. } = event;
        Ok(hooks.user_may_send_state_event(sender, room_id, event_type, state_key, content).await?)
    }

    /// Counts the event against `rc_message`, or against `rc_admin_redaction` where that is set and applies.
    async fn check_limit(&self, event: &NewEvent) -> Result<(), ClientEventError> {
        match &self.parts.limits.admin_redaction {
            Some(limit) if self.parts.sender.redacts_another(event).await? => limit.check(&event.sender)?,
            _ => self.parts.limits.message.check(&event.sender)?,
        }
        Ok(())
    }
}
