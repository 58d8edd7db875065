//! Keys that devices publish, claim and sign
//! (<https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption>).

mod claim;
mod cross_signing;
mod query;
mod signatures;
mod upload;

use std::collections::BTreeMap;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_store::{Database, DbError};

pub use claim::{Claimed, DeviceClaims};
pub use cross_signing::{CrossSigning, CrossSigningError, CrossSigningState, CrossSigningUpload};
pub use query::{DeviceList, QueriedKeys};
pub use signatures::{SignatureFailure, SignatureFailures};
pub use upload::{CheckedUpload, KeyUpload, UploadError};

/// Publishes and hands out the keys of this server's users.
#[derive(Clone)]
pub struct DeviceKeys {
    db: Database,
    server_name: ServerName,
}

impl DeviceKeys {
    /// The keys of the users of `server_name`.
    #[must_use]
    pub fn new(db: Database, server_name: ServerName) -> Self {
        Self { db, server_name }
    }

    /// Claims one key for each device: its oldest one-time key, which is deleted before anybody learns of it, or else
    /// its fallback key. Devices without either, and users of other servers, are absent from the result.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(&self, claims: DeviceClaims) -> Result<Claimed, DbError> {
        let local: DeviceClaims = claims.into_iter().filter(|(user_id, _)| self.is_local(user_id)).collect();
        if local.values().all(BTreeMap::is_empty) {
            return Ok(Claimed::new());
        }
        self.db.write(move |tx| claim::take_keys(tx, &local)).await
    }

    /// Whether a user is on this server.
    #[must_use]
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name.as_str()
    }
}

/// Parses a stored key object.
fn stored(json: &str, table: &str, user_id: &str) -> Result<Object, DbError> {
    Object::parse(json).map_err(|error| DbError::bad_data(format!("{table}.key_json of {user_id}"), error))
}

/// Adds a signature to a key object.
fn add_signature(object: &mut Object, signer: &str, key_id: &str, signature: &str) {
    let mut signatures = object.get_object("signatures").cloned().unwrap_or_default();
    let mut of_signer = signatures.get_object(signer).cloned().unwrap_or_default();
    of_signer.insert(key_id, signature);
    signatures.insert(signer, of_signer);
    object.insert("signatures", signatures);
}

/// Returns the part of an object that signatures cover: everything but `signatures` and `unsigned`.
fn signed_part(object: &Object) -> Object {
    let mut part = object.clone();
    part.remove("signatures");
    part.remove("unsigned");
    part
}
