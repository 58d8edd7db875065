//! Sending an event for a client: what the endpoints that do it share.

use std::sync::Arc;

use plexus_delivery::Presence;
use plexus_http::{ApiError, Requester};
use plexus_protocol::id::EventId;
use plexus_rooms::{EventSender, NewEvent, Transaction};
use plexus_store::repo::transactions::LONGEST_TXN_ID;
use serde::Serialize;

use crate::own_echoes::OwnEchoes;
use crate::rate_limits::RateLimits;
use crate::room_errors::send_error;

/// Sends clients' events, within their limits.
pub struct ClientEvents {
    sender: Arc<EventSender>,
    limits: Arc<RateLimits>,
    echoes: Arc<OwnEchoes>,
    presence: Arc<Presence>,
}

/// What the endpoints answer.
#[derive(Debug, Serialize)]
pub struct EventSent {
    pub event_id: EventId,
}

impl ClientEvents {
    /// A sender for clients.
    #[must_use]
    pub fn new(
        sender: Arc<EventSender>,
        limits: Arc<RateLimits>,
        echoes: Arc<OwnEchoes>,
        presence: Arc<Presence>,
    ) -> Self {
        Self { sender, limits, echoes, presence }
    }

    /// Sends the event, unless the requester's device has made the same request before: then it only answers again.
    /// `require` is what else is asked of the requester.
    pub(crate) async fn send(
        &self,
        requester: &Requester,
        event: NewEvent,
        require: impl FnOnce(&Requester) -> Result<(), ApiError>,
    ) -> Result<EventSent, ApiError> {
        let user = &requester.user_id;
        let replayed = event.transaction.as_ref().and_then(|it| self.sender.replayed(&event.room_id, user, it));
        if let Some(event_id) = replayed {
            return Ok(EventSent { event_id });
        }
        require(requester)?;
        self.count(&event).await?;
        let _answered_first = event.transaction.as_ref().and_then(|_| self.echoes.sending(requester));
        let sent = self.sender.send(event).await.map_err(send_error)?;
        self.presence.active(user);
        Ok(EventSent { event_id: sent.event_id })
    }

    /// Whether the event redacts what its sender has sent.
    pub(crate) async fn redacts_own(&self, event: &NewEvent) -> Result<bool, ApiError> {
        Ok(self.sender.redacts_own(event).await?)
    }

    /// `rc_message`, or `rc_admin_redaction` where it is set and applies.
    async fn count(&self, event: &NewEvent) -> Result<(), ApiError> {
        match &self.limits.admin_redaction {
            Some(limit) if self.sender.redacts_another(event).await? => limit.check(&event.sender)?,
            _ => self.limits.message.check(&event.sender)?,
        }
        Ok(())
    }
}

/// How a device named its request; `None` for tokens without a device.
pub(crate) fn transaction(requester: &Requester, txn_id: String) -> Result<Option<Transaction>, ApiError> {
    let Some(device_id) = requester.device_id.as_deref() else { return Ok(None) };
    if txn_id.len() > LONGEST_TXN_ID {
        return Err(ApiError::invalid_param(format!("The transaction id is longer than {LONGEST_TXN_ID} bytes")));
    }
    Ok(Some(Transaction { device_id: device_id.into(), txn_id: txn_id.into() }))
}
