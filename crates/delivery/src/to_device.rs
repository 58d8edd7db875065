//! Sending messages to devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_base::Clock;
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::{Database, DbError, Tx, repo};
use serde_json::value::RawValue;

use crate::json::Members;
use crate::notifier::Notifier;

/// The largest message to one device, in bytes.
const MAX_MESSAGE: usize = 65_536;
/// For how long a transaction is remembered, ms.
const REMEMBERED: u64 = 30 * 60 * 1_000;

/// Messages by user and device; the device `*` is every device of the user.
pub type MessagesByDevice = BTreeMap<UserId, BTreeMap<String, Box<RawValue>>>;

/// The messages for one user's devices.
type OfUser<'m> = (&'m UserId, &'m BTreeMap<String, Box<RawValue>>);

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

/// Queues messages for devices.
pub struct ToDevice {
    db: Database,
    clock: Clock,
    server_name: ServerName,
    notifier: Arc<Notifier>,
}

impl ToDevice {
    /// For senders of `server_name`.
    #[must_use]
    pub fn new(db: Database, clock: Clock, server_name: ServerName, notifier: Arc<Notifier>) -> Self {
        Self { db, clock, server_name, notifier }
    }

    /// Queues each message once: a transaction id that the sending device used before does nothing. Local devices that do not
    /// exist get nothing; what is for users of other servers waits until their server has acknowledged it.
    pub async fn send(&self, new: NewMessages) -> Result<(), ToDeviceError> {
        for content in new.messages.values().flat_map(BTreeMap::values) {
            check(content)?;
        }
        let now = self.clock.now_ms();
        let server = self.server_name.clone();
        let notifier = Arc::clone(&self.notifier);
        self.db
            .write(move |tx| {
                let device = (new.sender.as_str(), new.device.as_deref().unwrap_or_default());
                if !repo::to_device::begin_transaction(tx, device, &new.event_type, &new.txn_id, now)? {
                    return Ok(());
                }
                repo::to_device::forget_transactions(tx, now.saturating_sub(REMEMBERED))?;
                queue_local(tx, &new, &server)?;
                for remote in queue_remote(tx, &new, &server)? {
                    let notifier = Arc::clone(&notifier);
                    tx.after_commit(move || notifier.outgoing().to_device(remote));
                }
                Ok(())
            })
            .await
    }
}

/// Whether a message can be one.
pub(crate) fn check(content: &RawValue) -> Result<(), ToDeviceError> {
    if content.get().len() > MAX_MESSAGE {
        return Err(ToDeviceError::TooLarge);
    }
    if !content.get().trim_start().starts_with('{') {
        return Err(ToDeviceError::NotAnObject);
    }
    Ok(())
}

/// Queues what is for users of `server`.
pub(crate) fn queue_local(tx: &mut Tx<'_>, new: &NewMessages, server: &ServerName) -> Result<(), DbError> {
    let local = new.messages.iter().filter(|(user, _)| user.server_name() == server.as_str());
    for (user, messages) in local {
        queue(tx, new, user, messages)?;
    }
    Ok(())
}

/// Queues what is for users of other servers than `server`, one message each; answers which servers.
fn queue_remote(tx: &mut Tx<'_>, new: &NewMessages, server: &ServerName) -> Result<Vec<String>, DbError> {
    let mut servers: BTreeMap<&str, Vec<OfUser<'_>>> = BTreeMap::new();
    for (user, messages) in new.messages.iter().filter(|(user, _)| user.server_name() != server.as_str()) {
        servers.entry(user.server_name()).or_default().push((user, messages));
    }
    for (remote, messages) in &servers {
        repo::federation_out::add_to_device(tx, remote, |position| edu(new, messages, position))?;
    }
    Ok(servers.into_keys().map(str::to_owned).collect())
}

/// The content of an `m.direct_to_device` EDU.
fn edu(new: &NewMessages, messages: &[OfUser<'_>], position: plexus_store::Position) -> String {
    let mut out = String::new();
    let mut content = Members::open(&mut out);
    content.text("message_id", &position.to_string());
    let mut by_user = Members::open(content.key("messages"));
    for (user, devices) in messages {
        let mut by_device = Members::open(by_user.key(user.as_str()));
        devices.iter().for_each(|(device, message)| by_device.raw(device, message.get()));
        by_device.close();
    }
    by_user.close();
    content.text("sender", new.sender.as_str());
    content.text("type", &new.event_type);
    content.close();
    out
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
