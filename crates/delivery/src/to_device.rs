//! Sending messages to devices.

use std::collections::BTreeMap;

use plexus_base::Clock;
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::{Database, DbError, Tx, repo};
use serde_json::value::RawValue;

use crate::json::Members;

/// The largest message to one device, in bytes.
const MAX_MESSAGE: usize = 65_536;
/// For how long a transaction is remembered, ms.
const REMEMBERED: u64 = 30 * 60 * 1_000;

/// Messages by user and device; the device `*` is every device of the user.
pub type MessagesByDevice = BTreeMap<UserId, BTreeMap<String, Box<RawValue>>>;

/// A request to send messages.
#[derive(Debug)]
pub struct NewMessages {
    pub sender: UserId,
    /// The device that sends, whose transaction ids these are.
    pub device: Option<String>,
    pub txn_id: String,
    pub event_type: String,
    pub messages: MessagesByDevice,
}

/// Why messages were not sent.
#[derive(Debug, thiserror::Error)]
pub enum ToDeviceError {
    #[error("a message is larger than {MAX_MESSAGE} bytes")]
    TooLarge,
    #[error("the content of a message is not an object")]
    NotAnObject,
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Queues messages for local devices.
pub struct ToDevice {
    db: Database,
    clock: Clock,
    server_name: ServerName,
}

impl ToDevice {
    /// For the users of `server_name`.
    #[must_use]
    pub fn new(db: Database, clock: Clock, server_name: ServerName) -> Self {
        Self { db, clock, server_name }
    }

    /// Queues each message once: a transaction id that the sending device used before does nothing. Devices that do not
    /// exist get nothing. Messages to users of other servers are not sent yet.
    pub async fn send(&self, new: NewMessages) -> Result<(), ToDeviceError> {
        for content in new.messages.values().flat_map(BTreeMap::values) {
            if content.get().len() > MAX_MESSAGE {
                return Err(ToDeviceError::TooLarge);
            }
            if !content.get().trim_start().starts_with('{') {
                return Err(ToDeviceError::NotAnObject);
            }
        }
        let now = self.clock.now_ms();
        let server = self.server_name.clone();
        self.db
            .write(move |tx| {
                let device = (new.sender.as_str(), new.device.as_deref().unwrap_or_default());
                if !repo::to_device::begin_transaction(tx, device, &new.event_type, &new.txn_id, now)? {
                    return Ok(());
                }
                repo::to_device::forget_transactions(tx, now.saturating_sub(REMEMBERED))?;
                for (user, messages) in &new.messages {
                    if user.server_name() == server.as_str() {
                        queue(tx, &new, user, messages)?;
                    }
                }
                Ok(())
            })
            .await
    }
}

/// A device named itself wins over `*`.
fn queue(
    tx: &mut Tx<'_>,
    new: &NewMessages,
    user: &UserId,
    messages: &BTreeMap<String, Box<RawValue>>,
) -> Result<(), DbError> {
    for device in repo::devices::list(tx, user.as_str())?.into_iter().map(|device| device.device_id) {
        if let Some(content) = messages.get(&device).or_else(|| messages.get("*")) {
            repo::to_device::add(tx, user, &device, &event(new, content.get()))?;
        }
    }
    Ok(())
}

fn event(new: &NewMessages, content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 128);
    let mut event = Members::open(&mut out);
    event.raw("content", content);
    event.text("sender", new.sender.as_str());
    event.text("type", &new.event_type);
    event.close();
    out
}
