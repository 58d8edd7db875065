//! Server-side backup of room keys (<https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>).

use std::collections::BTreeMap;

use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::key_backup::{self, Backup, Scope, Session};
use plexus_store::{Database, DbError, Tx, readable};

/// The largest `auth_data` or `session_data`, in bytes.
const MAX_BYTES: usize = 65_536;
/// The most versions of a user's backup: clients use the newest only, and can delete the others.
const MAX_VERSIONS: u64 = 100;
/// The most keys of a version: one for each of a million sessions.
const MAX_KEYS: u64 = 1_000_000;
/// The longest room or session id, in bytes.
const MAX_ID_BYTES: usize = 255;

/// One session's key as the client gives it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are named as in the specification")]
pub struct SessionKey {
    pub first_message_index: u64,
    pub forwarded_count: u64,
    pub is_verified: bool,
    /// Encrypted by the client.
    pub session_data: Object,
}

/// Room to session to key.
pub type RoomKeys = BTreeMap<String, BTreeMap<String, SessionKey>>;

/// A part of a backup.
#[derive(Debug, Clone)]
pub enum Part {
    /// All keys of a version.
    All,
    /// The keys of a room.
    Room(String),
    /// The key of a session: room id and session id.
    Session(String, String),
}

/// The state of a backup after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Changes with the keys.
    pub etag: i64,
    /// The number of keys.
    pub count: u64,
}

/// Why a backup was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// 404 `M_NOT_FOUND`
    #[error("Unknown backup version")]
    UnknownVersion,
    /// 404 `M_NOT_FOUND`
    #[error("No room_keys found")]
    NoKeys,
    /// 403 `M_WRONG_ROOM_KEYS_VERSION` with `current_version`
    #[error("Wrong backup version.")]
    NotCurrent {
        /// The newest version.
        current: i64,
    },
    /// 400 `M_INVALID_PARAM`
    #[error("{0}")]
    Invalid(&'static str),
    /// 413 `M_TOO_LARGE`
    #[error("the key is too large")]
    TooLarge,
    /// 413 `M_TOO_LARGE`
    #[error("there are too many keys or versions of the backup")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Stores room keys for users.
#[derive(Clone)]
pub struct KeyBackups {
    db: Database,
}

impl KeyBackups {
    /// Backups in `db`.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// Returns a version, or with `None` the newest.
    ///
    /// # Errors
    /// `UnknownVersion`, or the database's.
    pub async fn info(&self, user_id: &UserId, version: Option<i64>) -> Result<Backup, BackupError> {
        let user_id = user_id.clone();
        self.db.read(move |tx| find(tx, &user_id, version)).await
    }

    /// Creates a version, in which keys are stored from now on.
    ///
    /// # Errors
    /// `Invalid`, `TooLarge`, `TooMany`, or the database's.
    pub async fn create(&self, user_id: &UserId, algorithm: String, auth_data: &Object) -> Result<i64, BackupError> {
        if algorithm.is_empty() || algorithm.len() > MAX_ID_BYTES || algorithm.contains('\0') {
            return Err(BackupError::Invalid("algorithm must have 1 to 255 bytes"));
        }
        let (user_id, auth_data) = (user_id.clone(), limited(auth_data)?);
        self.db
            .write(move |tx| match key_backup::count(tx, user_id.as_str())? {
                0..MAX_VERSIONS => Ok(key_backup::create(tx, user_id.as_str(), &algorithm, &auth_data)?),
                _ => Err(BackupError::TooMany),
            })
            .await
    }

    /// Replaces a version's `auth_data`.
    ///
    /// # Errors
    /// `UnknownVersion`; `Invalid` when the algorithm is another; `TooLarge`; or the database's.
    pub async fn update(
        &self,
        user_id: &UserId,
        version: i64,
        algorithm: String,
        auth_data: &Object,
    ) -> Result<(), BackupError> {
        let (user_id, auth_data) = (user_id.clone(), limited(auth_data)?);
        self.db
            .write(move |tx| {
                let backup = find(tx, &user_id, Some(version))?;
                if backup.algorithm != algorithm {
                    return Err(BackupError::Invalid("Algorithm does not match"));
                }
                key_backup::set_auth_data(tx, user_id.as_str(), version, &auth_data)?;
                Ok(())
            })
            .await
    }

    /// Deletes a version with its keys.
    ///
    /// # Errors
    /// `UnknownVersion`, or the database's.
    pub async fn delete(&self, user_id: &UserId, version: i64) -> Result<(), BackupError> {
        let user_id = user_id.clone();
        self.db
            .write(move |tx| {
                if key_backup::delete(tx, user_id.as_str(), version)? {
                    Ok(())
                } else {
                    Err(BackupError::UnknownVersion)
                }
            })
            .await
    }

    /// Stores keys in the newest version, which `version` must be. Only a better key replaces a stored one.
    ///
    /// # Errors
    /// `UnknownVersion`, `NotCurrent`, `Invalid`, `TooLarge`, or the database's.
    pub async fn put_keys(&self, user_id: &UserId, version: i64, keys: RoomKeys) -> Result<Stamp, BackupError> {
        let sessions = sessions(keys)?;
        let user_id = user_id.clone();
        self.db.write(move |tx| put_keys(tx, &user_id, version, &sessions)).await
    }

    /// Returns the stored keys.
    ///
    /// # Errors
    /// `UnknownVersion`; `NoKeys` when `part` is a session without a key; or the database's.
    pub async fn keys(&self, user_id: &UserId, version: i64, part: Part) -> Result<RoomKeys, BackupError> {
        let user_id = user_id.clone();
        self.db
            .read(move |tx| {
                find(tx, &user_id, Some(version))?;
                let found = key_backup::sessions(tx, user_id.as_str(), version, part.scope())?;
                let found = by_room(found, &user_id);
                if found.is_empty() && matches!(part, Part::Session(..)) {
                    return Err(BackupError::NoKeys);
                }
                Ok(found)
            })
            .await
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// `UnknownVersion`, or the database's.
    pub async fn delete_keys(&self, user_id: &UserId, version: i64, part: Part) -> Result<Stamp, BackupError> {
        let user_id = user_id.clone();
        self.db
            .write(move |tx| {
                let backup = find(tx, &user_id, Some(version))?;
                let deleted = key_backup::delete_sessions(tx, user_id.as_str(), version, part.scope())?;
                if deleted == 0 {
                    return Ok(stamp(&backup));
                }
                let removed = i64::try_from(deleted).unwrap_or(i64::MAX);
                let (etag, count) = key_backup::changed(tx, user_id.as_str(), version, -removed)?;
                Ok(Stamp { etag, count })
            })
            .await
    }
}

impl Part {
    fn scope(&self) -> Scope<'_> {
        match self {
            // An id with NUL is in no database; PostgreSQL would refuse the query.
            Self::Room(room) if room.contains('\0') => Scope::Room(""),
            Self::Session(room, session) if room.contains('\0') || session.contains('\0') => Scope::Room(""),
            Self::All => Scope::All,
            Self::Room(room) => Scope::Room(room),
            Self::Session(room, session) => Scope::Session(room, session),
        }
    }
}

fn find(tx: &mut Tx, user_id: &UserId, version: Option<i64>) -> Result<Backup, BackupError> {
    let found = match version {
        Some(version) => key_backup::get(tx, user_id.as_str(), version)?,
        None => key_backup::latest(tx, user_id.as_str())?,
    };
    found.ok_or(BackupError::UnknownVersion)
}

fn stamp(backup: &Backup) -> Stamp {
    Stamp { etag: backup.etag, count: backup.key_count }
}

fn put_keys(tx: &mut Tx, user_id: &UserId, version: i64, new: &[Session]) -> Result<Stamp, BackupError> {
    let current = find(tx, user_id, None)?;
    if current.version != version {
        return Err(BackupError::NotCurrent { current: current.version });
    }
    let (mut added, mut changed) = (0, false);
    for session in new {
        let scope = Scope::Session(&session.room_id, &session.session_id);
        let stored = key_backup::sessions(tx, user_id.as_str(), version, scope)?.pop();
        match stored {
            Some(stored) if !replaces(session, &stored) => continue,
            Some(_) => {}
            None => added += 1,
        }
        key_backup::put_session(tx, user_id.as_str(), version, session)?;
        changed = true;
    }
    if !changed {
        return Ok(stamp(&current));
    }
    let (etag, count) = key_backup::changed(tx, user_id.as_str(), version, added)?;
    if added > 0 && count > MAX_KEYS {
        return Err(BackupError::TooMany);
    }
    Ok(Stamp { etag, count })
}

/// Whether a new key replaces a stored one: a verified key is better, then one that decrypts more, then one that was
/// forwarded less often
/// (<https://spec.matrix.org/v1.19/client-server-api/#backup-algorithm-mmegolm_backupv1curve25519-aes-sha2>).
fn replaces(new: &Session, stored: &Session) -> bool {
    if new.is_verified != stored.is_verified {
        return new.is_verified;
    }
    if new.first_message_index != stored.first_message_index {
        return new.first_message_index < stored.first_message_index;
    }
    new.forwarded_count < stored.forwarded_count
}

fn sessions(keys: RoomKeys) -> Result<Vec<Session>, BackupError> {
    let usable = |id: &str| !id.is_empty() && id.len() <= MAX_ID_BYTES && !id.contains('\0');
    let mut sessions = Vec::new();
    for (room_id, of_room) in keys {
        for (session_id, key) in of_room {
            if !usable(&room_id) || !usable(&session_id) {
                return Err(BackupError::Invalid("room and session ids must have 1 to 255 bytes"));
            }
            let max = i64::MAX as u64;
            if key.first_message_index > max || key.forwarded_count > max {
                return Err(BackupError::Invalid("first_message_index or forwarded_count is too large"));
            }
            sessions.push(Session {
                room_id: room_id.clone(),
                session_id,
                first_message_index: key.first_message_index,
                forwarded_count: key.forwarded_count,
                is_verified: key.is_verified,
                session_data: limited(&key.session_data)?,
            });
        }
    }
    Ok(sessions)
}

fn limited(object: &Object) -> Result<String, BackupError> {
    let json = object.to_json();
    if json.len() <= MAX_BYTES { Ok(json) } else { Err(BackupError::TooLarge) }
}

/// Returns the sessions that can be read.
fn by_room(sessions: Vec<Session>, user_id: &UserId) -> RoomKeys {
    let mut keys = RoomKeys::new();
    for session in sessions {
        let place = || format!("key_backup_sessions.session_data of {user_id}, session {:?}", session.session_id);
        let session_data = Object::parse(&session.session_data).map_err(|error| DbError::bad_data(place(), error));
        let Some(session_data) = readable(session_data) else { continue };
        let key = SessionKey {
            first_message_index: session.first_message_index,
            forwarded_count: session.forwarded_count,
            is_verified: session.is_verified,
            session_data,
        };
        keys.entry(session.room_id).or_default().insert(session.session_id, key);
    }
    keys
}
