//! The data that other servers send besides events (server-server API, "EDUs"), one type a file: `typing`, `receipts`,
//! `presence`, `to_device`, `device_lists`.

mod device_lists;
mod presence;
mod receipts;
mod to_device;
mod typing;

use std::collections::HashSet;
use std::sync::Arc;

use plexus_base::Clock;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, Rooms};
use plexus_store::repo::bounds::BoundError;
use plexus_store::{Database, DbError};
use serde::Deserialize;
use serde_json::value::RawValue;

use plexus_e2ee::remote_devices::RemoteDevices;
use plexus_sync::presence::Presence;
use plexus_sync::receipts::Receipts;
use plexus_sync::to_device::ToDeviceError;
use plexus_sync::typing::Typing;

/// The most EDUs of a transaction (<https://spec.matrix.org/v1.19/server-server-api/#transactions>).
const MAX_EDUS: usize = 100;

/// The services that receiving EDUs uses.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct EduReceiverParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub remote_devices: Arc<RemoteDevices>,
}

/// Receives the EDUs of other servers.
pub struct EduReceiver(EduReceiverParts);

#[derive(Deserialize)]
struct Edu {
    edu_type: String,
    content: Box<RawValue>,
}

/// Why an EDU was ignored.
#[derive(Debug, thiserror::Error)]
enum EduError {
    #[error("it is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("{0} is not a user of its server")]
    Impostor(UserId),
    #[error(transparent)]
    ToDevice(#[from] ToDeviceError),
    #[error("it concerns no user here")]
    Unrelated,
    #[error("the room's access control list denies its server")]
    DeniedByAcl,
    #[error("its thread_id is neither main nor an event id")]
    Thread,
    #[error(transparent)]
    Bound(#[from] BoundError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl EduReceiver {
    /// Creates a receiver that passes EDUs on to these services.
    #[must_use]
    pub fn new(parts: EduReceiverParts) -> Self {
        Self(parts)
    }

    /// Receives the EDUs of a transaction of `origin`, the first 100. EDUs that are malformed, of an unknown type, or
    /// not `origin`'s to send are ignored.
    ///
    /// # Errors
    /// When the database fails: the server must send the transaction again.
    pub async fn receive(&self, origin: &ServerName, edus: Vec<Box<RawValue>>) -> Result<(), DbError> {
        self.0.remote_devices.heard_from(origin).await;
        let mut announced = HashSet::new();
        for raw in edus.into_iter().take(MAX_EDUS) {
            ignore_invalid("an EDU", origin, self.receive_one(origin, &raw, &mut announced).await)?;
        }
        Ok(())
    }

    /// `announced`: users whose devices were announced as changed for this transaction.
    async fn receive_one(
        &self,
        origin: &ServerName,
        raw: &RawValue,
        announced: &mut HashSet<UserId>,
    ) -> Result<(), EduError> {
        let Edu { edu_type, content } = serde_json::from_str(raw.get())?;
        let (parts, content) = (&self.0, content.get());
        match edu_type.as_str() {
            "m.typing" => typing::receive(parts, origin, content).await,
            "m.receipt" => receipts::receive(parts, origin, content).await,
            "m.presence" => presence::receive(parts, origin, content).await,
            "m.direct_to_device" => to_device::receive(parts, origin, content).await,
            "m.device_list_update" => device_lists::receive_update(parts, origin, content, announced).await,
            "m.signing_key_update" | "org.matrix.signing_key_update" => {
                device_lists::receive_signing_keys(parts, origin, content, announced).await
            }
            _ => Ok(()),
        }
    }
}

impl EduReceiverParts {
    /// Returns a room that local users are in and in which `origin` may take part.
    async fn room(&self, origin: &ServerName, id: &RoomId) -> Result<Arc<Room>, EduError> {
        let room = self.rooms.get(id).await?.ok_or(EduError::Unrelated)?;
        let view = room.view();
        if view.local_joined.is_empty() {
            return Err(EduError::Unrelated);
        }
        if !view.allows_server(origin) {
            return Err(EduError::DeniedByAcl);
        }
        Ok(room)
    }

    /// Whether a user shares a room with a local one.
    async fn shares_room(&self, user: &UserId) -> Result<bool, DbError> {
        for room in self.rooms.memberships().of(user).await?.joined() {
            if let Some(room) = self.rooms.get_readable_nid(room).await?
                && !room.view().local_joined.is_empty()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Logs why something that `origin` sent is ignored.
///
/// # Errors
/// When the database failed, or may have, rather than what was sent: it must not be acknowledged.
fn ignore_invalid(item: &str, origin: &ServerName, received: Result<(), EduError>) -> Result<(), DbError> {
    let Err(error) = received else { return Ok(()) };
    match error {
        EduError::Db(error)
        | EduError::Bound(BoundError::Db(error))
        | EduError::ToDevice(ToDeviceError::Database(error))
            if !error.is_of_data() =>
        {
            Err(error)
        }
        error => {
            tracing::info!("{item} of {origin} is ignored: {error}");
            Ok(())
        }
    }
}

/// Checks that `origin` is the user's own server.
fn check_origin(origin: &ServerName, user: &UserId) -> Result<(), EduError> {
    if user.server_name() == origin.as_str() { Ok(()) } else { Err(EduError::Impostor(user.clone())) }
}

fn is_joined(room: &Room, user: &UserId) -> bool {
    let view = room.view();
    let member = view.state.get("m.room.member", user.as_str());
    member.is_some_and(|member| member.membership == Some(Membership::Join))
}
