//! Sending messages to devices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::id::{ServerName, UserId};
use plexus_store::repo::to_device::NewMessage;
use plexus_store::{Database, DbError, Tx, repo};
use serde_json::value::RawValue;

use crate::json::Members;
use crate::notifier::Notifier;

/// The largest message to one device, in bytes.
const MAX_MESSAGE: usize = 65_536;
/// For how long a client's transaction is remembered, ms.
const OWN_REMEMBERED: u64 = 30 * 60 * 1_000;
/// For how long the id of another server's message is remembered, ms: a week longer than a server is left alone at most.
const OTHERS_REMEMBERED: u64 = 14 * 86_400_000;
/// How often what need not be remembered is forgotten.
const CLEANUP: Duration = Duration::from_secs(600);

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
                let begun = repo::to_device::begin_transaction(tx, device, &new.event_type, &new.txn_id, now)?;
                let messages = for_local(tx, &new, &server)?;
                if tx.changed(begun)? == 0 {
                    return Ok(());
                }
                repo::to_device::add(tx, &messages)?;
                for remote in queue_remote(tx, &new, &server)? {
                    let notifier = Arc::clone(&notifier);
                    tx.after_commit(move || notifier.outgoing().to_device(remote));
                }
                Ok(())
            })
            .await
    }

    /// Forgets old transactions, for ever.
    pub async fn run_housekeeping(self: Arc<Self>) {
        loop {
            self.clock.sleep(CLEANUP).await;
            let now = self.clock.now_ms();
            let forgetting = self.db.write(move |tx| {
                repo::to_device::forget_transactions(tx, now.saturating_sub(OWN_REMEMBERED))?;
                repo::to_device::forget_received(tx, now.saturating_sub(OTHERS_REMEMBERED))
            });
            if let Err(error) = forgetting.await {
                tracing::warn!(%error, "could not forget old transactions of messages to devices");
            }
        }
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

/// Queues what is for devices of users of `server`.
pub(crate) fn queue_local(tx: &mut Tx<'_>, new: &NewMessages, server: &ServerName) -> Result<(), DbError> {
    let messages = for_local(tx, new, server)?;
    repo::to_device::add(tx, &messages)
}

/// What is for devices of users of `server`. A device named itself wins over `*`.
fn for_local(tx: &mut Tx<'_>, new: &NewMessages, server: &ServerName) -> Result<Vec<NewMessage>, DbError> {
    let local = new.messages.keys().filter(|user| user.server_name() == server.as_str());
    let users: Vec<&str> = local.map(UserId::as_str).collect();
    let mut messages = Vec::new();
    for (user, device_id) in repo::devices::of_users(tx, &users)? {
        let Some((user, by_device)) = UserId::try_from(user).ok().and_then(|user| new.messages.get_key_value(&user))
        else {
            continue;
        };
        if let Some(content) = by_device.get(&device_id).or_else(|| by_device.get("*")) {
            messages.push(NewMessage { user: user.clone(), device_id, message: event(new, content.get()) });
        }
    }
    Ok(messages)
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

fn event(new: &NewMessages, content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 128);
    let mut event = Members::open(&mut out);
    event.raw("content", content);
    event.text("sender", new.sender.as_str());
    event.text("type", &new.event_type);
    event.close();
    out
}
