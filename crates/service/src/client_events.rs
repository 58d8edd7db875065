//! Sending the events of clients, within their rate limits.

use std::sync::Arc;

use plexus_accounts::Requester;
use plexus_base::LimitExceeded;
use plexus_protocol::id::EventId;
use plexus_rooms::{EventSender, MembershipChanger, NewEvent, SendError};
use plexus_store::DbError;
use plexus_sync::Presence;

use crate::member_events::{self, MemberEventError, SendingAccount};
use crate::{LocalEchoOrder, RateLimits};

/// Sends events that clients ask for: limited, once per transaction id, and noted as activity of the user.
pub struct ClientEventSender {
    sender: Arc<EventSender>,
    members: Arc<MembershipChanger>,
    limits: Arc<RateLimits>,
    echo_order: Arc<LocalEchoOrder>,
    presence: Arc<Presence>,
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
    pub fn new(
        sender: Arc<EventSender>,
        members: Arc<MembershipChanger>,
        limits: Arc<RateLimits>,
        echo_order: Arc<LocalEchoOrder>,
        presence: Arc<Presence>,
    ) -> Self {
        Self { sender, members, limits, echo_order, presence }
    }

    /// Returns the event that the same request of the requester's device has sent before, if memory still has it. Check
    /// this before what else the request must fulfil: a repeated request gets its response again in any case.
    pub fn replayed(&self, event: &NewEvent) -> Option<EventId> {
        let transaction = event.transaction.as_ref()?;
        self.sender.replayed(&event.room_id, &event.sender, transaction)
    }

    /// As [`Self::replayed`], also when memory does not have it any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sent_before(&self, event: &NewEvent) -> Result<Option<EventId>, DbError> {
        let Some(transaction) = &event.transaction else { return Ok(None) };
        self.sender.sent_before(&event.room_id, &event.sender, transaction).await
    }

    /// Sends the event of the requester.
    ///
    /// # Errors
    /// See [`ClientEventError`].
    pub async fn send(&self, requester: &Requester, event: NewEvent) -> Result<EventId, ClientEventError> {
        let _response_goes_first = event.transaction.as_ref().and_then(|_| self.echo_order.sending(requester));
        self.send_for(requester.into(), event).await
    }

    /// Sends an event of the account, without a request that waits for it. A member event has the same effect as the
    /// endpoint for that membership.
    ///
    /// # Errors
    /// See [`ClientEventError`].
    pub async fn send_for(&self, account: SendingAccount, event: NewEvent) -> Result<EventId, ClientEventError> {
        let sender = event.sender.clone();
        let event_id = if event.event_type == "m.room.member" && event.state_key.is_some() {
            self.limits.message.check(&sender)?;
            member_events::set_membership(&self.members, account, event).await?
        } else {
            self.check_limit(&event).await?;
            self.sender.send(event).await?.event_id
        };
        self.presence.active(&sender);
        Ok(event_id)
    }

    /// Whether the event redacts an event of its own sender.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redacts_own(&self, event: &NewEvent) -> Result<bool, DbError> {
        self.sender.redacts_own(event).await
    }

    /// Counts the event against `rc_message`, or against `rc_admin_redaction` where that is set and applies.
    async fn check_limit(&self, event: &NewEvent) -> Result<(), ClientEventError> {
        match &self.limits.admin_redaction {
            Some(limit) if self.sender.redacts_another(event).await? => limit.check(&event.sender)?,
            _ => self.limits.message.check(&event.sender)?,
        }
        Ok(())
    }
}
