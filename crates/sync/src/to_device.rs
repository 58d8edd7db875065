//! Sending messages to devices.
//!
//! - `edus`: the EDUs in which they go to other servers

mod edus;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::event::MAX_FIELD;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::{NotPortable, Object, ObjectWriter, ParseError};
use plexus_store::repo::federation_out::GiveUpBefore;
use plexus_store::repo::to_device::NewMessage;
use plexus_store::{Database, DbError, Tx, repo};
use serde_json::value::RawValue;

use edus::UserMessages;

pub use edus::{MAX_EDU_BYTES, edu};

/// The longest device id that a message may name, in bytes, as in Synapse.
const MAX_DEVICE_ID_BYTES: usize = 512;
/// How long a client's transaction is kept, in ms.
const CLIENT_TRANSACTION_LIFETIME_MS: u64 = 30 * 60 * 1_000;
/// How long the id of another server's message is kept, in ms: a week longer than a server is left alone at most.
const REMOTE_MESSAGE_ID_LIFETIME_MS: u64 = 14 * 86_400_000;
/// How long a message waits for a server that does not accept it, in ms.
const REMOTE_MESSAGE_LIFETIME_MS: u64 = 180 * 86_400_000;
/// How long a message waits for a name that may be no server's, in ms.
const UNKNOWN_SERVER_MESSAGE_LIFETIME_MS: u64 = 7 * 86_400_000;
/// How often old transactions and message ids are deleted.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(600);

/// Messages by user and device; the device `*` is every device of the user.
pub type MessagesByDevice = BTreeMap<UserId, BTreeMap<String, Box<RawValue>>>;

/// A request to send messages.
#[derive(Debug)]
pub struct NewMessages {
    /// The user who sends.
    pub sender: UserId,
    /// The device that sends, whose transaction ids these are.
    pub device: Option<String>,
    /// The client's transaction id: messages are sent once for each.
    pub txn_id: String,
    /// The type of all messages.
    pub event_type: String,
    /// The contents, by recipient.
    pub messages: MessagesByDevice,
}

/// Why messages were not sent.
#[derive(Debug, thiserror::Error)]
pub enum ToDeviceError {
    /// 413 `M_TOO_LARGE`: a message does not fit into an EDU.
    #[error("a message with its sender, type and recipient is larger than {MAX_EDU_BYTES} bytes")]
    TooLarge,
    /// 413 `M_TOO_LARGE`: the type is too long.
    #[error("the type of the messages is longer than {MAX_FIELD} bytes")]
    TypeTooLong,
    /// 400 `M_INVALID_PARAM`: the type cannot be stored.
    #[error("the type of the messages contains U+0000")]
    NulInType,
    /// A device id is too long.
    #[error("a device id is longer than {MAX_DEVICE_ID_BYTES} bytes")]
    DeviceIdTooLong,
    /// 400: other servers could not read the content.
    #[error("the content of a message is not canonical JSON: {0}")]
    NotPortable(#[from] NotPortable),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Queues messages for devices.
pub struct ToDevice {
    db: Database,
    clock: Clock,
    server_name: ServerName,
}

impl ToDevice {
    /// Creates the service for senders of `server_name`.
    #[must_use]
    pub fn new(db: Database, clock: Clock, server_name: ServerName) -> Self {
        Self { db, clock, server_name }
    }

    /// Queues each message once: a transaction id that the sending device used before does nothing. Local devices that
    /// do not exist get nothing; messages to users of other servers wait until their server has acknowledged them.
    ///
    /// # Errors
    /// See [`ToDeviceError`]; nothing is queued then.
    pub async fn send(&self, mut new: NewMessages) -> Result<(), ToDeviceError> {
        new.check()?;
        let now = self.clock.now_ms();
        let server = self.server_name.clone();
        self.db
            .write(move |tx| {
                let device = (new.sender.as_str(), new.device.as_deref().unwrap_or_default());
                let begun = repo::to_device::begin_transaction(tx, device, &new.event_type, &new.txn_id, now)?;
                let messages = for_local(tx, &new, &server)?;
                if tx.changed(begun)? == 0 {
                    return Ok(());
                }
                repo::to_device::add(tx, &messages)?;
                Ok(queue_remote(tx, &new, &server, now)?)
            })
            .await
    }

    /// Deletes old transactions and message ids now and then, without end.
    pub async fn run_housekeeping(self: Arc<Self>) {
        loop {
            self.clock.sleep(CLEANUP_INTERVAL).await;
            let now = self.clock.now_ms();
            let forgetting = self.db.write(move |tx| {
                repo::to_device::forget_transactions(tx, now.saturating_sub(CLIENT_TRANSACTION_LIFETIME_MS))?;
                repo::to_device::forget_received(tx, now.saturating_sub(REMOTE_MESSAGE_ID_LIFETIME_MS))?;
                let before = GiveUpBefore {
                    unknown_servers: now.saturating_sub(UNKNOWN_SERVER_MESSAGE_LIFETIME_MS),
                    all: now.saturating_sub(REMOTE_MESSAGE_LIFETIME_MS),
                };
                repo::federation_out::give_up_to_device(tx, before, now)
            });
            match forgetting.await {
                Ok(0) => {}
                Ok(given_up) => tracing::info!("{given_up} messages to devices were not taken by their servers"),
                Err(error) => {
                    let error: DbError = error;
                    tracing::warn!(%error, "could not forget old transactions of messages to devices");
                }
            }
        }
    }
}

impl NewMessages {
    /// Checks that every message can be delivered, even by itself to another server, and brings it into canonical form.
    /// The same limits apply to local recipients: a sender need not know which users are local.
    fn check(&mut self) -> Result<(), ToDeviceError> {
        check_type(&self.event_type)?;
        for content in self.messages.values_mut().flat_map(BTreeMap::values_mut) {
            *content = canonical(content, Object::check_portable)?;
        }
        let room = edus::room(self);
        for (user, devices) in &self.messages {
            for (device, content) in devices {
                if device.len() > MAX_DEVICE_ID_BYTES {
                    return Err(ToDeviceError::DeviceIdTooLong);
                }
                if edus::bytes(user, device, content) > room {
                    return Err(ToDeviceError::TooLarge);
                }
            }
        }
        Ok(())
    }
}

/// Checks the type of messages.
pub fn check_type(event_type: &str) -> Result<(), ToDeviceError> {
    if event_type.len() > MAX_FIELD {
        return Err(ToDeviceError::TypeTooLong);
    }
    if event_type.contains('\0') {
        return Err(ToDeviceError::NulInType);
    }
    Ok(())
}

/// Returns the content of a message in canonical form, checked by `check`.
fn canonical(
    content: &RawValue,
    check: impl FnOnce(&Object) -> Result<(), NotPortable>,
) -> Result<Box<RawValue>, ToDeviceError> {
    if content.get().len() > MAX_EDU_BYTES {
        return Err(ToDeviceError::TooLarge);
    }
    let object = Object::parse(content.get()).map_err(NotPortable::from)?;
    check(&object)?;
    // The text of an object is JSON: this does not fail.
    RawValue::from_string(object.to_json()).map_err(|_| NotPortable::from(ParseError::NotAnObject).into())
}

/// As `canonical`, for what another server sent.
pub fn received(content: &RawValue) -> Result<Box<RawValue>, ToDeviceError> {
    canonical(content, Object::check_readable)
}

/// Queues the messages to devices of users of `server`.
pub fn queue_local(tx: &mut Tx<'_>, new: &NewMessages, server: &ServerName) -> Result<(), DbError> {
    let messages = for_local(tx, new, server)?;
    repo::to_device::add(tx, &messages)
}

/// Returns the messages to devices of users of `server`. A message to a named device takes precedence over one to `*`.
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

/// Queues the messages to users of other servers than `server`, in as many EDUs as it takes.
fn queue_remote(tx: &mut Tx<'_>, new: &NewMessages, server: &ServerName, now_ms: u64) -> Result<(), DbError> {
    let mut servers: BTreeMap<&str, Vec<UserMessages<'_>>> = BTreeMap::new();
    for (user, messages) in new.messages.iter().filter(|(user, _)| user.server_name() != server.as_str()) {
        let devices = messages.iter().map(|(device, message)| (device.as_str(), &**message)).collect();
        servers.entry(user.server_name()).or_default().push((user, devices));
    }
    let room = edus::room(new);
    for (remote, messages) in servers {
        for part in edus::split(messages, room) {
            repo::federation_out::add_to_device(tx, remote, now_ms, |position| edus::content(new, &part, position))?;
        }
    }
    Ok(())
}

fn event(new: &NewMessages, content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 128);
    let mut event = ObjectWriter::open(&mut out);
    event.raw("content", content);
    event.string("sender", new.sender.as_str());
    event.string("type", &new.event_type);
    event.close();
    out
}
