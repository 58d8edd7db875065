//! Messages to the device.

use plexus_protocol::id::UserId;
use plexus_protocol::json::{NotPortable, Object};
use plexus_store::repo::to_device::{ReadLimits, Waiting};
use plexus_store::{DbError, Position, Tx, repo};

use super::context::Context;
use super::request::{DeltaParts, DeltaRequest};
use crate::notifier::MaybeChanged;

/// The most messages in one response, in number and in bytes: a phone has to parse the response at once. The others
/// follow in the next one.
pub(crate) const MAX_MESSAGES: ReadLimits = ReadLimits { messages: 100, bytes: 1024 * 1024 };

/// Messages to the device.
#[derive(Debug, Default)]
pub struct MessagesDelta {
    /// Oldest first, JSON.
    pub events: Vec<String>,
    /// Set when there are more: the position of the last one here.
    pub more_after: Option<Position>,
}

impl MessagesDelta {
    /// Whether the device learns nothing from this. If there are more messages the token says where they continue, even
    /// if the client gets none of these.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.more_after.is_none()
    }
}

/// Returns the messages that the device has not acknowledged.
pub(super) async fn unacknowledged(context: &Context<'_>) -> Result<MessagesDelta, DbError> {
    let since = context.request.since.map_or(0, |since| since.to_device_position());
    messages(context, since, MAX_MESSAGES).await
}

/// Returns the messages to the device after `since`.
pub(crate) async fn messages(
    context: &Context<'_>,
    since: Position,
    limits: ReadLimits,
) -> Result<MessagesDelta, DbError> {
    let Some(device) = &context.request.device else { return Ok(MessagesDelta::default()) };
    let (user, upto) = (&context.request.user, context.now.position);
    let index = context.parts.notifier.index();
    if index.to_device_changed(user, device, since) == MaybeChanged::Known(false) {
        return Ok(MessagesDelta::default());
    }
    let (key, device) = (user.to_string(), device.clone());
    let read = move |tx: &mut Tx<'_>| repo::to_device::waiting(tx, &key, &device, (since, upto), limits);
    let (mut waiting, more): (Vec<Waiting>, bool) = context.parts.db.read(read).await?;
    let more_after = waiting.last().filter(|_| more).map(|last| last.position);
    waiting.retain(|message| is_readable(user, message));
    Ok(MessagesDelta { events: waiting.into_iter().map(|message| message.message).collect(), more_after })
}

/// Whether clients can parse a message. One that was stored before messages were checked would spoil the whole
/// response; it is deleted with those around it.
fn is_readable(user: &UserId, message: &Waiting) -> bool {
    let checked = Object::parse(&message.message).map_err(NotPortable::from);
    let checked = checked.and_then(|event| event.get_object("content").map_or(Ok(()), Object::check_readable));
    if let Err(error) = &checked {
        tracing::warn!("message {} to a device of {user} is left out: {error}", message.position);
    }
    checked.is_ok()
}

/// Deletes the messages to the device up to `upto`: by its token, the client has them.
pub(crate) async fn acknowledge(parts: &DeltaParts, request: &DeltaRequest, upto: Position) -> Result<(), DbError> {
    let (db, index) = (&parts.db, parts.notifier.index());
    let Some(device) = &request.device else { return Ok(()) };
    let upto = upto.min(db.committed());
    if !index.to_device_uncleared(&request.user, device, upto) {
        return Ok(());
    }
    let (user, id) = (request.user.to_string(), device.clone());
    let (key, device_id) = (user.clone(), id.clone());
    let span = db.read(move |tx| repo::to_device::span(tx, &key, &device_id)).await?;
    if span.is_some_and(|(oldest, _)| oldest <= upto) {
        db.write(move |tx| repo::to_device::acknowledge(tx, &user, &id, upto)).await?;
    }
    // Of messages from before the start the index does not know: as long as some are left, it is not asked.
    if span.is_none_or(|(_, newest)| newest <= upto) {
        index.to_device_cleared(&request.user, device, upto);
    }
    Ok(())
}
