//! Server-side backup of room keys.

pub(crate) mod add_backup_keys;
pub(crate) mod add_backup_keys_for_room;
pub(crate) mod add_backup_keys_for_session;
pub(crate) mod create_backup_version;
pub(crate) mod delete_backup_keys;
pub(crate) mod delete_backup_keys_for_room;
pub(crate) mod delete_backup_keys_for_session;
pub(crate) mod delete_backup_version;
pub(crate) mod get_backup_info;
pub(crate) mod get_backup_keys;
pub(crate) mod get_backup_keys_for_room;
pub(crate) mod get_backup_keys_for_session;
pub(crate) mod get_latest_backup_info;
pub(crate) mod update_backup_version;

use std::collections::BTreeMap;

use http::StatusCode;
use plexus_e2ee::key_backup::{BackupError, SessionKey, Stamp};
use plexus_http::ApiError;
use plexus_protocol::json::Object;
use plexus_store::repo::key_backup::Backup;
use serde::{Deserialize, Serialize};

/// The query of every request about keys.
#[derive(Debug, Deserialize)]
pub(crate) struct VersionQuery {
    version: String,
}

impl VersionQuery {
    fn number(&self) -> Result<i64, ApiError> {
        version(&self.version)
    }
}

/// Parses the number of a version. Any other text is a version that does not exist.
fn version(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| backup_error(BackupError::UnknownVersion))
}

/// One session's key.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyBackupData {
    first_message_index: u64,
    forwarded_count: u64,
    is_verified: bool,
    session_data: Object,
}

/// The keys of a room.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RoomKeyBackup {
    sessions: BTreeMap<String, KeyBackupData>,
}

/// The keys of all rooms.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyBackup {
    rooms: BTreeMap<String, RoomKeyBackup>,
}

impl From<KeyBackupData> for SessionKey {
    fn from(data: KeyBackupData) -> Self {
        Self {
            first_message_index: data.first_message_index,
            forwarded_count: data.forwarded_count,
            is_verified: data.is_verified,
            session_data: data.session_data,
        }
    }
}

impl From<SessionKey> for KeyBackupData {
    fn from(key: SessionKey) -> Self {
        Self {
            first_message_index: key.first_message_index,
            forwarded_count: key.forwarded_count,
            is_verified: key.is_verified,
            session_data: key.session_data,
        }
    }
}

fn stored(sessions: BTreeMap<String, KeyBackupData>) -> BTreeMap<String, SessionKey> {
    sessions.into_iter().map(|(id, data)| (id, data.into())).collect()
}

fn shown(sessions: BTreeMap<String, SessionKey>) -> RoomKeyBackup {
    RoomKeyBackup { sessions: sessions.into_iter().map(|(id, key)| (id, key.into())).collect() }
}

/// The response to a change of keys.
#[derive(Debug, Serialize)]
pub(crate) struct StampResponse {
    etag: String,
    count: u64,
}

impl From<Stamp> for StampResponse {
    fn from(stamp: Stamp) -> Self {
        Self { etag: stamp.etag.to_string(), count: stamp.count }
    }
}

/// The description of a version.
#[derive(Debug, Serialize)]
pub(crate) struct InfoResponse {
    algorithm: String,
    auth_data: Object,
    count: u64,
    etag: String,
    version: String,
}

impl TryFrom<Backup> for InfoResponse {
    type Error = ApiError;

    fn try_from(backup: Backup) -> Result<Self, ApiError> {
        let auth_data = Object::parse(&backup.auth_data).map_err(|error| ApiError::internal(&error))?;
        Ok(Self {
            algorithm: backup.algorithm,
            auth_data,
            count: backup.key_count,
            etag: backup.etag.to_string(),
            version: backup.version.to_string(),
        })
    }
}

fn backup_error(error: BackupError) -> ApiError {
    match error {
        BackupError::UnknownVersion | BackupError::NoKeys => ApiError::not_found(error.to_string()),
        BackupError::NotCurrent { current } => {
            ApiError::new(StatusCode::FORBIDDEN, "M_WRONG_ROOM_KEYS_VERSION", "Wrong backup version.")
                .with("current_version", current.to_string())
        }
        BackupError::Invalid(problem) => ApiError::invalid_param(problem),
        BackupError::TooMany => ApiError::too_large(error.to_string()),
        BackupError::TooLarge => ApiError::too_large("The key or auth_data is too large"),
        BackupError::Database(error) => error.into(),
    }
}
